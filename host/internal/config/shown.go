package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/penstock-io/penstock/sdk/schema"
)

// shownTexts are the values of a block's attributes, as they were written, or their defaults.
// A reload shows them. An attribute that was not set and has no default has no text.
type shownTexts struct {
	texts  map[string]string
	hidden map[string]bool // attributes whose values may be secrets; they have no text
}

// shown returns the texts of a block's attributes.
func (b *body) shown() shownTexts {
	s := shownTexts{texts: map[string]string{}, hidden: map[string]bool{}}
	for _, a := range b.spec.attributes {
		v, given := b.values[a.Name]
		switch {
		case a.Sensitive || v.secret || given && mayHoldSecret(v.text):
			s.hidden[a.Name] = true
		case given:
			s.texts[a.Name] = v.text
		case a.Default != nil:
			s.texts[a.Name] = defaultText(a.Default)
		}
	}
	return s
}

// mayHoldSecret reports whether a text is a URL with a user, or with a query, which may be a
// signature.
func mayHoldSecret(text string) bool {
	if !strings.Contains(text, "://") {
		return false
	}
	u, err := url.Parse(text)
	return err != nil || u.User != nil || u.RawQuery != ""
}

// writtenText returns a value as it was written. A path is absolute.
func writtenText(a attribute, v cty.Value, constant any) string {
	if path, ok := constant.(string); ok && a.Type == schema.Path {
		return path
	}
	if v.Type() == cty.String {
		return v.AsString()
	}
	text, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return ""
	}
	return string(text)
}

// defaultText returns the default of an attribute as it would be written.
func defaultText(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}

// values returns the texts of an attribute that has changed, from that of one block to that
// of the next; "" where they may be secrets or are long. The fields are the values that the
// blocks were compared by.
func (s shownTexts) values(next shownTexts, attribute string, was, is any) (from, to string) {
	switch was.(type) {
	case *Project, *Destination:
		return shownValue(was), shownValue(is) // the name of a block
	}
	if s.hidden[attribute] || next.hidden[attribute] {
		return "", ""
	}
	return s.value(attribute, was), next.value(attribute, is)
}

// value returns the text of an attribute, or that of the field v if it was not set.
func (s shownTexts) value(attribute string, v any) string {
	if text, ok := s.texts[attribute]; ok {
		return text
	}
	if slices.Contains(decoded, attribute) {
		return ""
	}
	if d, ok := v.(time.Duration); ok {
		return durationText(attribute, d)
	}
	if n, ok := v.(int64); ok && n == 0 {
		return notSet
	}
	return shownValue(v)
}

// notSet stands for an attribute that was left out.
const notSet = "none"

// durationText returns a duration, and the time of day at which a schedule is due, as an
// operator would write it.
func durationText(attribute string, d time.Duration) string {
	switch {
	case attribute == "at":
		return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
	case d == 0:
		return notSet
	}
	return strings.Trim(duration(d), `"`)
}

// isDerived reports whether a field of a schedule follows from other attributes: the time
// zone is that of the project, and the time of day follows from the frequency unless it is
// written.
func isDerived(old, next Place, field string) bool {
	switch field {
	case "Zone":
		return true
	case "At":
		return !old.isSet("at") && !next.isSet("at")
	}
	return false
}

// constants returns the texts of an attribute of a destination that has changed; "" if they
// may be secrets, or the schema of one of them was not known.
func (s shownTexts) constants(next shownTexts, attribute string) (from, to string) {
	if s.texts == nil || next.texts == nil || s.hidden[attribute] || next.hidden[attribute] {
		return "", ""
	}
	return s.constant(attribute), next.constant(attribute)
}

// constant returns the text of an attribute.
func (s shownTexts) constant(attribute string) string {
	if text, ok := s.texts[attribute]; ok {
		return text
	}
	return notSet
}
