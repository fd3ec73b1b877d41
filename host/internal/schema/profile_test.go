package schema

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRecordsAboutProfiles(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1780315200000)
	const (
		seen   = `,"time":1780315200000,"last_seen":true,"value":`
		unseen = `,"time":1780315200000,"last_seen":false,"value":`
	)
	p := NewProfiles()
	for _, tt := range []struct{ record, want string }{
		{`{"$distinct_id":"u","$properties":{"a":1, "$last_seen":"x"}}`, `{"distinct_id":"u","operation":"$set"` + unseen + `{"a":1,"$last_seen":"x"}}`},
		{`{"$distinct_id":42,"$properties":{}}`, `{"distinct_id":"42","operation":"$set"` + unseen + `{}}`},
		{`{"distinct_id":"u\u0041\"","properties":{"a":1}}`, `{"distinct_id":"uA\"","operation":"$set"` + unseen + `{"a":1}}`},
		{`{"$distinct_id":"u","$properties":[]}`, `{"distinct_id":"u","operation":"$set"` + unseen + `{}}`},
		{`{"$distinct_id":"u","$set":[ ]}`, `{"distinct_id":"u","operation":"$set"` + seen + `{}}`},
		{` {"$token":"t","$distinct_id":"u","$set":{"a":1}} `, `{"distinct_id":"u","operation":"$set"` + seen + `{"a":1}}`},
		{`{"$distinct_id":"u","$set":{},"$ignore_time":true}`, `{"distinct_id":"u","operation":"$set"` + unseen + `{}}`},
		{`{"$distinct_id":"u","$add":{"a":1},"$time":1700000000}`, `{"distinct_id":"u","operation":"$add","time":1700000000000,"last_seen":true,"value":{"a":1}}`},
		{`{"$distinct_id":"u","$add":{"a":1},"$time":99999999999}`, `{"distinct_id":"u","operation":"$add"` + seen + `{"a":1}}`},
		{`{"$distinct_id":"u","$unset":["b"],"$set_once":{"a":1},"$properties":{"x":1}}`,
			`{"distinct_id":"u","operation":"$set_once"` + seen + `{"a":1}}` + "\n" + `{"distinct_id":"u","operation":"$unset"` + seen + `["b"]}`},
		{`{"$device_id":"d","$union":{"a":[1]}}`, `{"distinct_id":"$device:d","operation":"$union"` + seen + `{"a":[1]}}`},
		{`{"$user_id":"u","$device_id":"d","$delete":"whatever"}`, `{"distinct_id":"u","operation":"$delete"` + seen + `null}`},
		{``, "!invalid_json"},
		{`[]`, "!invalid_json"},
		{`[{"$distinct_id":"u","$set":{}}]`, "!invalid_json"},
		{`{"$distinct_id":"u","$set":{}} {}`, "!invalid_json"},
		{`{"$distinct_id":"u","$set":{}`, "!invalid_json"},
		{`7`, "!not_an_object"},
		{"{\"$distinct_id\":\"\xff\",\"$set\":{}}", "!invalid_utf8"},
		{`{"$distinct_id":"u"}`, "!unknown_operation"},
		{`{"$distinct_id":"u","$sett":{}}`, "!unknown_operation"},
		{`{"event":"e","properties":{"distinct_id":"u"}}`, "!no_distinct_id"},
		{`{"$properties":{}}`, "!no_distinct_id"},
		{`{"$distinct_id":"","$properties":{}}`, "!no_distinct_id"},
		{`{"$distinct_id":"null","$set":{}}`, "!invalid_distinct_id"},
		{`{"$distinct_id":0,"$set":{}}`, "!invalid_distinct_id"},
		{`{"$distinct_id":"0","$properties":{}}`, "!invalid_distinct_id"},
		{`{"properties":{"a":1},"distinct_id":"NULL"}`, "!invalid_distinct_id"},
		{`{"$group_key":"company","$group_id":"c","$set":{}}`, "!no_distinct_id"},
		{`{"$distinct_id":"u","$properties":[1]}`, "!invalid_value"},
		{`{"$distinct_id":"u","$set":{"a":1},"$add":{"a":"x"}}`, "!invalid_value"},
		{`{"$distinct_id":"u","$set":{"a":"` + strings.Repeat("x", MaxRecord) + `"}}`, "!too_long"},
	} {
		all, err := p.Operations([]byte(tt.record), now)
		var got []string
		for _, o := range all {
			got = append(got, strings.TrimSuffix(string(AppendOperation(nil, o)), "\n"))
		}
		if err != nil {
			var r *Rejection
			if !errors.As(err, &r) {
				t.Fatalf("%.80s: %v is not a rejection", tt.record, err)
			}
			got = append(got, "!"+string(r.Reason))
		}
		if strings.Join(got, "\n") != tt.want {
			t.Errorf("%.80s: %s, want %s", tt.record, got, tt.want)
		}
	}
}
