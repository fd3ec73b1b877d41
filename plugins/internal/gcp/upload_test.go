package gcp

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"testing"
)

// The id of an upload's session lets anybody write to it: no error shows it.
func TestWithoutSession(t *testing.T) {
	if WithoutSession(nil) != nil {
		t.Error("an error of nothing")
	}
	sent := &url.Error{Op: "Put", URL: "https://storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=resumable&upload_id=ABg5-Ux&x=1", Err: io.ErrUnexpectedEOF}
	want := `Put "https://storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=resumable&upload_id=…&x=1": unexpected EOF`
	for _, prefix := range []string{"", "final error: "} {
		err := WithoutSession(fmt.Errorf(prefix+"%w", sent))
		var asked *url.Error
		if err.Error() != prefix+want || !errors.As(err, &asked) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v, want %s%s", err, prefix, want)
		}
	}
}
