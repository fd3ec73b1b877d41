package mixpanel

import (
	"errors"
	"fmt"
	"time"
)

// Kind tells the reasons apart for which Mixpanel's answer is not used.
type Kind int

// The kinds.
const (
	Unauthorized Kind = iota + 1 // the credentials are wrong, or may not read the project
	NoPlan                       // the plan does not include the API
	TooMany                      // a limit is reached
	BadRequest                   // the request is wrong
	Elsewhere                    // the server redirects to another host, or does not keep the project
	Unavailable                  // the server, or the way to it, fails
	Truncated                    // the answer is not whole
)

// names are for messages and JSON.
var names = map[Kind]string{
	Unauthorized: "unauthorized", NoPlan: "no_plan", TooMany: "rate_limited", BadRequest: "bad_request", Elsewhere: "wrong_region",
	Unavailable: "unavailable", Truncated: "truncated",
}

func (k Kind) String() string { return names[k] }

// remedies are the next steps, by kind.
var remedies = map[Kind]string{
	Unauthorized: "check the service account or api_secret, that the account has access to the project, and the region (us, eu, in)",
	NoPlan:       "the project's plan must include the API: ask Mixpanel, or read exported files with a source of type files",
	TooMany:      "other programs may query the same project; lower the limits of the source if they do",
	Elsewhere:    "set region, or endpoint, to the place where the project is kept, and check the project's id",
}

// Error is an answer that is not used.
type Error struct {
	Kind   Kind
	Status int           // of HTTP; 0: there was no answer
	Detail string        // without credentials
	After  time.Duration // when to ask again, if the server says so
	Cause  error         // may be nil
}

func (e *Error) Error() string {
	text := "Mixpanel: " + e.Detail
	if e.Status != 0 {
		text = fmt.Sprintf("Mixpanel answered %d: %s", e.Status, e.Detail)
	}
	if remedy := remedies[e.Kind]; remedy != "" {
		text += "; " + remedy
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of an error; 0: it does not come from Mixpanel.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// NeedsPerson reports whether an error stays until a person changes something.
func NeedsPerson(err error) bool {
	switch KindOf(err) {
	case Unauthorized, NoPlan, BadRequest, Elsewhere:
		return true
	}
	return false
}

// Blocks reports whether no query of the project is to be sent for a while after an
// error: a limit is reached, or the server says when to ask again.
func Blocks(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == TooMany || e.After > 0)
}

func truncated(cause error, format string, args ...any) error {
	return &Error{Kind: Truncated, Detail: fmt.Sprintf(format, args...), Cause: cause}
}
