package config

import (
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/schema"
)

// A form returns why a text is wrong, or "".
type form func(text string) (why string)

func dateForm(text string) string {
	if _, err := journal.ParseDay(text); err != nil {
		return `it must be a date that exists, written "YYYY-MM-DD".`
	}
	return ""
}

// earliest is the from_date of a pipeline that reaches back as far as
// max_backfill lets it when it is registered.
const earliest = "earliest"

func fromForm(text string) string {
	if text == earliest {
		return ""
	}
	if dateForm(text) != "" {
		return `it must be a date that exists, written "YYYY-MM-DD", or "earliest".`
	}
	return ""
}

func zoneForm(text string) string {
	if _, err := loadZone(text); err != nil {
		return `it is not a time zone: use an IANA name such as "Europe/Berlin" or "UTC".` + suggestZone(text)
	}
	return ""
}

// loadZone is time.LoadLocation without the names that depend on the machine.
func loadZone(name string) (*time.Location, error) {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "", "Local", "localtime", "posix", "right", "posixrules", "Factory":
		return nil, strconv.ErrSyntax
	}
	return time.LoadLocation(name)
}

func nameForm(text string) string {
	if !schema.ValidName(text) {
		return "use lower-case letters, digits and underscores, beginning with a letter."
	}
	return ""
}

func notEmpty(text string) string {
	if strings.TrimSpace(text) == "" {
		return "it must not be empty."
	}
	return ""
}

// The longest spans of time that a configuration may hold: a century.
const (
	maxMonths = 1200
	maxDays   = 36500 // as schema.ParseDuration
)

// tokenForm is a token that a header can carry.
func tokenForm(text string) string {
	if why := notEmpty(text); why != "" {
		return why
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "it must have no spaces and only printable ASCII characters: requests carry it in a header."
	}
	return ""
}

var months = regexp.MustCompile(`^([0-9]{1,9}) months?$`)

// parseBackfill reads "6 months" or a duration such as "90d". why says why a
// text is neither.
func parseBackfill(text string) (span Backfill, why string) {
	if m := months.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > maxMonths {
			return Backfill{}, fmt.Sprintf(`it must be at most "%d months".`, maxMonths)
		}
		return Backfill{Months: n, Text: text}, ""
	}
	d, err := schema.ParseDuration(text)
	switch {
	case err == nil:
		return Backfill{Time: d, Text: text}, ""
	case tooLong(text):
		return Backfill{}, fmt.Sprintf(`it must be at most "%dd".`, maxDays)
	}
	return Backfill{}, `write it as "6 months", or as a duration such as "90d".`
}

func backfillForm(text string) string {
	_, why := parseBackfill(text)
	return why
}

var days = regexp.MustCompile(`^([0-9]+)(?:\.[0-9]*)?d`)

// tooLong reports whether a text is a duration of more days than a duration may
// have.
func tooLong(text string) bool {
	m := days.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	n, err := strconv.Atoi(m[1])
	return err != nil || n >= maxDays
}

func clockForm(text string) string {
	if _, _, ok := parseClock(text); !ok {
		return `it must be a time of day, written "HH:MM", or the minute of an hourly pipeline, written ":MM".`
	}
	return ""
}

// parseClock reads "HH:MM", or ":MM" with minuteOnly.
func parseClock(text string) (at time.Duration, minuteOnly, ok bool) {
	minuteOnly = strings.HasPrefix(text, ":")
	full := text
	if minuteOnly {
		full = "00" + text
	}
	t, err := time.Parse("15:04", full)
	if err != nil || len(full) != 5 {
		return 0, minuteOnly, false
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, minuteOnly, true
}

// addressForm is host:port.
func addressForm(text string) string {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		n, err := strconv.Atoi(port)
		if err == nil && n >= 0 && n <= 65535 {
			return ""
		}
	}
	return `it must be an address with a port, such as "127.0.0.1:8080".`
}

// loopback reports whether an address is reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// urlForm is an absolute URL with one of the schemes.
func urlForm(schemes ...string) form {
	return func(text string) string {
		u, err := url.Parse(text)
		if err == nil && u.Host != "" {
			for _, s := range schemes {
				if u.Scheme == s {
					return ""
				}
			}
		}
		return "it must be a URL that begins with " + strings.Join(schemes, ":// or ") + "://."
	}
}

// serverForm is the URL of a server, which messages show: no secret may be in it.
func serverForm(text string) string {
	if why := urlForm("http", "https")(text); why != "" {
		return why
	}
	if u, err := url.Parse(text); err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "it must have no user, no password, no \"?\" and no \"#\"."
	}
	return ""
}

// pathForm is a path, or an address in a bucket.
func pathForm(text string) string {
	if why := notEmpty(text); why != "" || !strings.Contains(text, "://") {
		return why
	}
	if why := urlForm("s3", "gs", "azblob")(text); why != "" {
		return "it must be a path, or begin with s3://, gs:// or azblob:// and the bucket's name."
	}
	return ""
}

// globForm is a pattern of paths, or of names in a bucket.
func globForm(text string) string {
	if why := pathForm(text); why != "" {
		return why
	}
	if !doublestar.ValidatePattern(text) {
		return `it is not a pattern: "*" stands for anything in a name, "**" for directories, "[a-z]" and "{a,b}" for alternatives.`
	}
	return ""
}

// integer is a number as an int64.
func integer(n *big.Float) (int64, bool) {
	i, accuracy := n.Int64()
	return i, accuracy == big.Exact
}
