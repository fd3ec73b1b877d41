package schema_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk/schema"
)

func TestValidateFindsTheAuthorsMistakes(t *testing.T) {
	t.Parallel()
	ok := schema.Attribute{Name: "bucket", Type: schema.String, Description: "The bucket."}
	tests := map[string]struct {
		change func(*schema.Attribute)
		want   string // empty: no mistake
	}{
		"none":                     {func(*schema.Attribute) {}, ""},
		"bad name":                 {func(a *schema.Attribute) { a.Name = "Bucket" }, "[a-z][a-z0-9_]*"},
		"digit first":              {func(a *schema.Attribute) { a.Name = "1st" }, "[a-z][a-z0-9_]*"},
		"no type":                  {func(a *schema.Attribute) { a.Type = 0 }, "no type"},
		"no description":           {func(a *schema.Attribute) { a.Description = " " }, "no description"},
		"required with default":    {func(a *schema.Attribute) { a.Required, a.Default = true, "x" }, "required and has a default"},
		"sensitive with default":   {func(a *schema.Attribute) { a.Sensitive, a.Default = true, "x" }, "sensitive and has a default"},
		"default of another type":  {func(a *schema.Attribute) { a.Default = 1 }, "is not of type string"},
		"default not allowed":      {func(a *schema.Attribute) { a.Allowed, a.Default = []string{"a"}, "b" }, "not an allowed value"},
		"allowed":                  {func(a *schema.Attribute) { a.Allowed, a.Default = []string{"a"}, "a" }, ""},
		"allowed for an integer":   {func(a *schema.Attribute) { a.Type, a.Allowed = schema.Integer, []string{"1"} }, "for strings"},
		"size":                     {func(a *schema.Attribute) { a.Type, a.Default = schema.Size, "64MiB" }, ""},
		"size without unit":        {func(a *schema.Attribute) { a.Type, a.Default = schema.Size, "64" }, "is not of type size"},
		"duration":                 {func(a *schema.Attribute) { a.Type, a.Default = schema.Duration, "10d" }, ""},
		"duration without unit":    {func(a *schema.Attribute) { a.Type, a.Default = schema.Duration, "10" }, "is not of type duration"},
		"list":                     {func(a *schema.Attribute) { a.Type, a.Default = schema.ListOfString, []string{"a"} }, ""},
		"map":                      {func(a *schema.Attribute) { a.Type, a.Default = schema.MapOfString, map[string]string{"a": "b"} }, ""},
		"number":                   {func(a *schema.Attribute) { a.Type, a.Default = schema.Number, 1.5 }, ""},
		"default of no known type": {func(a *schema.Attribute) { a.Default = struct{}{} }, "is not of type string"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ok
			tt.change(&a)
			err := schema.Schema{Attributes: []schema.Attribute{a}}.Validate()
			if tt.want == "" {
				if err != nil {
					t.Errorf("Validate error = %v, want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Validate error = %v, want %q", err, tt.want)
			}
		})
	}
	twice := schema.Schema{Attributes: []schema.Attribute{ok, ok, {Name: "x"}}}
	err := twice.Validate()
	if err == nil || !strings.Contains(err.Error(), "declared twice") || !strings.Contains(err.Error(), `"x": it has no type`) {
		t.Errorf("Validate error = %v, want both mistakes", err)
	}
	if a, ok := twice.Attribute("x"); !ok || a.Name != "x" {
		t.Error("Attribute does not find x")
	}
	if _, ok := twice.Attribute("y"); ok {
		t.Error("Attribute finds y")
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	tests := map[string]int64{
		"64MiB": 64 << 20, "10MB": 10_000_000, "512B": 512, "0B": 0, "1.5 GiB": 3 << 29, "2kB": 2000, "2KB": 2000, "1TiB": 1 << 40,
		"": -1, "64": -1, "MiB": -1, "-1B": -1, "1e3B": -1, "1.2.3MB": -1, "10 apples": -1, "99999999TiB": -1, "infB": -1,
	}
	for in, want := range tests {
		got, err := schema.ParseSize(in)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	tests := map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "10d": 240 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "0.5d": 12 * time.Hour,
		"": -1, "10": -1, "d": -1, "-1s": -1, "-1d": -1, "1d-1s": -1, "1dx": -1, "99999999d": -1, "1d2d": -1,
	}
	for in, want := range tests {
		got, err := schema.ParseDuration(in)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
}
