package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// input is a generated file of events.
type input struct {
	path string
	rows int
	days int
	// wide is the length in bytes of a property of each event that hardly compresses;
	// 0: events have none.
	wide int
	// event appends an event of a user at a Unix time.
	event func(b []byte, r *rand.Rand, unix int64, user uint64) []byte
	size  int       // about, of an event, in bytes
	first time.Time // midnight UTC of the first day
	bytes int64
	// limitBytes is how many bytes the limit compresses the file to, once it has
	// been measured.
	limitBytes int64
}

// inputName is the name of an input's file.
func inputName(rows, days int, shuffled bool) string {
	order := "ordered"
	if shuffled {
		order = "shuffled"
	}
	return fmt.Sprintf("%d-events-%d-days-%s.ndjson", rows, days, order)
}

// wideName is the name of the file of an input of wide events.
func wideName(rows, days, wide int) string {
	return fmt.Sprintf("%d-events-%d-days-%d-bytes-wide.ndjson", rows, days, wide)
}

const (
	seed      = 20260601
	perPiece  = 20_000 // events made by one generator, whatever the processors
	eventSize = 760    // about
	users     = 1 << 18
)

var (
	eventNames = []string{"Page View", "Product Viewed", "Add to Cart", "Checkout Started", "Order Completed", "Search", "Signup", "$mp_web_page_view", "Video Played", "Coupon Applied"}
	browsers   = []string{"Chrome", "Safari", "Firefox", "Edge", "Mobile Safari"}
	systems    = []string{"Windows", "Mac OS X", "iOS", "Android", "Linux"}
	cities     = []string{"San Francisco", "Berlin", "São Paulo", "Tokyo", "Nairobi", "London", "Wien", "Mumbai", "Austin", "Warszawa"}
	regions    = []string{"California", "Berlin", "São Paulo", "Tokyo", "Nairobi", "England", "Wien", "Maharashtra", "Texas", "Mazowieckie"}
	countries  = []string{"US", "DE", "BR", "JP", "KE", "GB", "AT", "IN", "US", "PL"}
	paths      = []string{"/", "/products", "/cart", "/checkout", "/search", "/account/orders", "/help/returns"}
)

// generate writes rows events over days days that end yesterday: in order of
// time, as an export has them, or shuffled, each event of any day.
func generate(dir string, rows, days int, shuffled bool) (*input, error) {
	return newInput(filepath.Join(dir, inputName(rows, days, shuffled)), rows, days).write(shuffled)
}

// generateWide is generate in order of time, with a property of wide bytes in each event.
func generateWide(dir string, rows, days, wide int) (*input, error) {
	in := newInput(filepath.Join(dir, wideName(rows, days, wide)), rows, days)
	in.wide, in.size = wide, in.size+wide
	in.event = func(b []byte, r *rand.Rand, unix int64, user uint64) []byte {
		return appendWide(appendEvent(b, r, unix, user), r, wide)
	}
	return in.write(false)
}

func newInput(path string, rows, days int) *input {
	return &input{path: path, rows: rows, days: days, event: appendEvent, size: eventSize, first: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -days)}
}

func (in *input) write(shuffled bool) (*input, error) {
	f, err := os.Create(in.path)
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	pieces := (in.rows + in.perPiece() - 1) / in.perPiece()
	for first := 0; first < pieces; first += runtime.GOMAXPROCS(0) {
		made := make([][]byte, min(runtime.GOMAXPROCS(0), pieces-first))
		var wg sync.WaitGroup
		for i := range made {
			wg.Go(func() { made[i] = in.piece(first+i, shuffled) })
		}
		wg.Wait()
		for _, b := range made {
			in.bytes += int64(len(b))
			if _, err := w.Write(b); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return in, f.Close()
}

// perPiece is how many events one generator makes.
func (in *input) perPiece() int {
	if in.size > 10*eventSize {
		return perPiece / 10
	}
	return perPiece
}

// piece makes the events of one piece; it depends on the seed and the number
// alone.
func (in *input) piece(number int, shuffled bool) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	n := min(in.perPiece(), in.rows-number*in.perPiece())
	b := make([]byte, 0, n*(in.size+40))
	span := int64(in.days) * 86400
	for i := range n {
		at := int64(float64(number*in.perPiece()+i) / float64(in.rows) * float64(span))
		if shuffled {
			at = r.Int64N(span)
		}
		b = in.event(b, r, in.first.Unix()+at, r.Uint64N(users))
	}
	return b
}

// appendEvent renders one event of a user as Mixpanel's export API gives it.
func appendEvent(b []byte, r *rand.Rand, unix int64, user uint64) []byte {
	place := r.IntN(len(cities))
	b = append(b, `{"event":"`...)
	b = append(b, eventNames[r.IntN(len(eventNames))]...)
	b = append(b, `","properties":{"time":`...)
	b = strconv.AppendInt(b, unix, 10)
	b = append(b, `,"distinct_id":"user-`...)
	b = appendHex(b, user*0x9E3779B97F4A7C15, 16)
	b = append(b, `","$insert_id":"`...)
	b = appendHex(b, r.Uint64(), 16)
	b = appendHex(b, r.Uint64(), 16)
	b = append(b, `","$device_id":"`...)
	b = appendHex(b, user*0xD1B54A32D192ED03, 16)
	b = append(b, `","$user_id":"user-`...)
	b = appendHex(b, user*0x9E3779B97F4A7C15, 16)
	b = append(b, `","$browser":"`...)
	b = append(b, browsers[r.IntN(len(browsers))]...)
	b = append(b, `","$browser_version":`...)
	b = strconv.AppendInt(b, 90+r.Int64N(50), 10)
	b = append(b, `,"$os":"`...)
	b = append(b, systems[r.IntN(len(systems))]...)
	b = append(b, `","$city":"`...)
	b = append(b, cities[place]...)
	b = append(b, `","$region":"`...)
	b = append(b, regions[place]...)
	b = append(b, `","mp_country_code":"`...)
	b = append(b, countries[place]...)
	b = append(b, `","$screen_height":1080,"$screen_width":1920,"$lib_version":"2.65.0","mp_lib":"web","$current_url":"https://shop.example.com`...)
	b = append(b, paths[r.IntN(len(paths))]...)
	b = append(b, `?utm_source=newsletter&session=`...)
	b = appendHex(b, r.Uint64(), 12)
	b = append(b, `","$referrer":"https://www.google.com/","$referring_domain":"www.google.com","$initial_referrer":"$direct","price":`...)
	b = strconv.AppendInt(b, r.Int64N(500), 10)
	b = append(b, `.99,"quantity":`...)
	b = strconv.AppendInt(b, 1+r.Int64N(9), 10)
	b = append(b, `,"currency":"EUR","plan":"pro","logged_in":true,"experiment":["a","control"],"mp_processing_time_ms":`...)
	b = strconv.AppendInt(b, unix*1000+r.Int64N(90000), 10)
	return append(b, "}}\n"...)
}

// appendWide adds a property of size letters to the event at the end of b.
func appendWide(b []byte, r *rand.Rand, size int) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b = append(b[:len(b)-len("}}\n")], `,"noise":"`...)
	for size > 0 {
		for bits := r.Uint64(); bits > 15 && size > 0; size-- {
			b, bits = append(b, letters[bits&63]), bits>>6
		}
	}
	return append(b, "\"}}\n"...)
}

func appendHex(b []byte, v uint64, digits int) []byte {
	const hex = "0123456789abcdef"
	for i := digits - 1; i >= 0; i-- {
		b = append(b, hex[v>>(4*i)&15])
	}
	return b
}
