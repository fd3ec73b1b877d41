package gcp

import (
	"slices"
	"strings"
	"testing"
)

func TestCheckNamesEveryAttribute(t *testing.T) {
	const secret = "BEGIN PRIVATE KEY"
	for _, test := range []struct {
		credentials Credentials
		want        []string
	}{
		{Credentials{}, nil},
		{Credentials{Endpoint: "http://127.0.0.1:4443", KeyFile: `{"type":"service_account"}`, Impersonate: "export@acme.iam.gserviceaccount.com"}, nil},
		{Credentials{Endpoint: "http://127.0.0.1:4443/"}, nil},
		{Credentials{Endpoint: "127.0.0.1:4443", KeyFile: secret, Impersonate: "export"}, []string{"endpoint", "credentials", "impersonate"}},
		{Credentials{Endpoint: "https://user@host", KeyFile: `{"private_key":"` + secret + `"}`}, []string{"endpoint", "credentials"}},
		{Credentials{Endpoint: "http://host/base", KeyFile: `{"type":"gdch_service_account"}`}, []string{"endpoint", "credentials"}},
	} {
		var found []string
		test.credentials.Check("http://127.0.0.1:9000", func(attribute, summary, detail string) {
			found = append(found, attribute)
			if summary == "" || detail == "" || strings.Contains(summary+detail, secret) {
				t.Errorf("%s: %q, %q", attribute, summary, detail)
			}
		})
		if !slices.Equal(found, test.want) {
			t.Errorf("%+v: mistakes in %q, want %q", test.credentials, found, test.want)
		}
	}
}

func TestIsGoogle(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"": true, "https://storage.googleapis.com": true, "https://bigquery.googleapis.com:443/": true,
		"http://127.0.0.1:4443": false, "https://googleapis.com.example.com": false, "https://evil-googleapis.com": false,
	} {
		if got := (Credentials{Endpoint: endpoint}).IsGoogle(); got != want {
			t.Errorf("%q: %v, want %v", endpoint, got, want)
		}
	}
}
