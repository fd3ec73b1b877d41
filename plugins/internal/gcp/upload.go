package gcp

import "regexp"

// WithoutSession returns an error whose text does not show the id of a resumable
// upload: it is all that is needed to write to the upload. nil stays nil.
func WithoutSession(err error) error {
	if err == nil {
		return nil
	}
	return withoutSession{err}
}

type withoutSession struct{ cause error }

var session = regexp.MustCompile(`upload_id=[^&"\s]+`)

func (e withoutSession) Error() string {
	return session.ReplaceAllString(e.cause.Error(), "upload_id=…")
}

func (e withoutSession) Unwrap() error { return e.cause }
