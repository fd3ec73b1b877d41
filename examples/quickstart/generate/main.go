package main

import (
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const (
	days      = 10
	eventsDay = 100
)

var names = []string{"Page Viewed", "Product Viewed", "Product Added", "Checkout Started", "Order Completed", "Signed Up"}

func main() {
	dir := flag.String("dir", ".", "where to write")
	flag.Parse()
	if err := generate(*dir, time.Now().UTC().AddDate(0, 0, -days).Truncate(24*time.Hour)); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate(dir string, first time.Time) error {
	if err := os.MkdirAll(filepath.Join(dir, "events"), 0o700); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	for day := range days {
		if err := writeDay(filepath.Join(dir, "events"), first.AddDate(0, 0, day), r); err != nil {
			return err
		}
	}
	return nil
}

// writeDay writes a day's events, every third day compressed. The first day
// holds two records that cannot be taken.
func writeDay(dir string, day time.Time, r *rand.Rand) (err error) {
	name := filepath.Join(dir, day.Format(time.DateOnly)+".ndjson")
	compressed := day.Day()%3 == 0
	if compressed {
		name += ".gz"
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var w io.Writer = f
	if compressed {
		z := gzip.NewWriter(f)
		defer func() { err = errors.Join(err, z.Close()) }()
		w = z
	}
	for n := range eventsDay {
		if _, err := fmt.Fprintln(w, event(day, n, r)); err != nil {
			return err
		}
	}
	if day.Day()%5 == 0 {
		_, err = fmt.Fprintln(w, "{\"event\":\"Page Viewed\",\"properties\":{\"time\":\n{\"event\":\"No Time\",\"properties\":{}}")
	}
	return err
}

func event(day time.Time, n int, r *rand.Rand) string {
	user := r.IntN(40)
	return fmt.Sprintf(`{"event":%q,"properties":{"time":%d,"distinct_id":"user-%d","$insert_id":"%s-%04d","$user_id":"user-%d","$city":"Zürich","product":"Shoe %d 👟","price":%d.90,"mp_lib":"web"}}`,
		names[r.IntN(len(names))], day.Unix()+int64(n)*864, user, day.Format("20060102"), n, user, r.IntN(20), 20+r.IntN(100))
}
