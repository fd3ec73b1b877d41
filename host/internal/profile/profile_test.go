package profile

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// operation is a row of an operation of profile u.
func operation(t testing.TB, verb schema.Verb, value string, seen int64) schema.OperationRow {
	t.Helper()
	o := schema.Operation{DistinctID: "u", Verb: verb, Time: max(seen, 0), LastSeen: seen >= 0, Value: []byte(value)}
	if err := o.Check(); err != nil {
		t.Fatalf("%s %s: %v", verb, value, err)
	}
	row, err := schema.SplitOperation(schema.AppendOperation(nil, o))
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// folded applies operations, "$set {…}" each, to the properties of a profile,
// "" for none, and returns the profile's properties then.
func folded(t testing.TB, before string, operations ...string) (string, Refused) {
	t.Helper()
	refused := Refused{}
	p := newProfile(refused)
	p.begin([]byte("u"))
	if before != "" {
		if err := p.read([]byte(rowID + "u" + `","properties":` + before + "}\n")); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range operations {
		verb, value, _ := strings.Cut(o, " ")
		if err := p.apply(operation(t, schema.Verb(verb), value, -1)); err != nil {
			t.Fatal(err)
		}
	}
	return properties(t, p), refused
}

// properties are those of a profile, "" if it does not exist.
func properties(t testing.TB, p *profile) string {
	t.Helper()
	if !p.exists {
		return ""
	}
	row := p.append(nil)
	_, got, err := splitRow(row)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(row) - len(rowID) - len(p.id) - len(rowProperties) - len(rowEnd); p.members != want && p.members != want+1 {
		t.Errorf("the members are said to have %d bytes, and have %d", p.members, want)
	}
	return string(got)
}

func TestVerbs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, before string
		operations   []string
		want         string
		refused      Refused
	}{
		{"set makes a profile", ``, []string{`$set {"b":1,"a":"x"}`}, `{"a":"x","b":1}`, nil},
		{"an empty set makes a profile", ``, []string{`$set {}`}, `{}`, nil},
		{"set overwrites", `{"a":1,"c":[1]}`, []string{`$set {"a":{"x":null},"c":2}`}, `{"a":{"x":null},"c":2}`, nil},
		{"set of null is a value", `{"a":1}`, []string{`$set {"a":null}`}, `{"a":null}`, nil},
		{"of one name twice the last counts", ``, []string{`$set {"a":1,"a":2}`}, `{"a":2}`, nil},
		{"names are the same however they are spelt", ``, []string{`$set {"\u0061":1}`, `$set {"a":2}`, `$set {"\/":1}`}, `{"/":1,"a":2}`, nil},
		{"white space between tokens is not kept", ``, []string{`$set { "a" : [ 1 , "b c" ] }`}, `{"a":[1,"b c"]}`, nil},
		{"numbers keep their spelling", ``, []string{`$set {"a":1.50,"b":1E2}`}, `{"a":1.50,"b":1E2}`, nil},

		{"set_once makes a profile", ``, []string{`$set_once {"a":1}`}, `{"a":1}`, nil},
		{"set_once keeps what is there", `{"a":1}`, []string{`$set_once {"a":2,"b":3}`}, `{"a":1,"b":3}`, nil},
		{"set_once keeps null", `{"a":null}`, []string{`$set_once {"a":2}`}, `{"a":null}`, nil},
		{"set_once after unset", `{"a":1}`, []string{`$unset ["a"]`, `$set_once {"a":2}`}, `{"a":2}`, nil},

		{"add begins at 0", ``, []string{`$add {"a":3}`}, `{"a":3}`, nil},
		{"add adds", `{"a":10}`, []string{`$add {"a":2.5,"b":-1}`}, `{"a":12.5,"b":-1}`, nil},
		{"add subtracts", `{"a":10}`, []string{`$add {"a":-12}`}, `{"a":-2}`, nil},
		{"add is exact", `{"a":0.1}`, []string{`$add {"a":0.2}`, `$add {"a":9007199254740993}`}, `{"a":9007199254740993.3}`, nil},
		{"add to a string", `{"a":"1"}`, []string{`$add {"a":1,"b":1}`}, `{"a":"1","b":1}`, Refused{NotANumber: 1}},
		{"add to a list that was taken apart", `{"a":[]}`, []string{`$append {"a":1}`, `$add {"a":1}`}, `{"a":[1]}`, Refused{NotANumber: 1}},
		{"add to null", `{"a":null}`, []string{`$add {"a":1}`}, `{"a":null}`, Refused{NotANumber: 1}},
		{"add beyond the range", `{"a":9e6144}`, []string{`$add {"a":9e6144}`}, `{"a":9e6144}`, Refused{NumberOutOfRange: 1}},

		{"append makes a list", ``, []string{`$append {"a":1}`}, `{"a":[1]}`, nil},
		{"append adds at the end", `{"a":[1]}`, []string{`$append {"a":1}`, `$append {"a":[2]}`, `$append {"a":{"b":null}}`}, `{"a":[1,1,[2],{"b":null}]}`, nil},
		{"append replaces another value", `{"a":"x"}`, []string{`$append {"a":1}`}, `{"a":[1]}`, nil},

		{"union makes a list", ``, []string{`$union {"a":[1,2,1]}`}, `{"a":[1,2]}`, nil},
		{"union of nothing makes an empty list", ``, []string{`$union {"a":[]}`}, `{"a":[]}`, nil},
		{"union adds what is not there, in order", `{"a":["x","y"]}`, []string{`$union {"a":["z","y","w","z"]}`}, `{"a":["x","y","z","w"]}`, nil},
		{"union keeps repetitions that are there", `{"a":[1,1]}`, []string{`$union {"a":[1,2]}`}, `{"a":[1,1,2]}`, nil},
		{"union compares what values mean", `{"a":[1,"x",{"a":1,"b":2},[1.0]]}`,
			[]string{`$union {"a":[1.0,10e-1,"\u0078",{"b":2,"a":1},[1],"1",true]}`}, `{"a":[1,"x",{"a":1,"b":2},[1.0],"1",true]}`, nil},
		{"union replaces another value", `{"a":{"b":1}}`, []string{`$union {"a":[1]}`}, `{"a":[1]}`, nil},

		{"remove removes all that mean it", `{"a":[1,2,1.0,"1"]}`, []string{`$remove {"a":1}`}, `{"a":[2,"1"]}`, nil},
		{"remove leaves an empty list", `{"a":["x"]}`, []string{`$remove {"a":"x"}`}, `{"a":[]}`, nil},
		{"remove of what is not there", `{"a":["x"],"b":"x"}`, []string{`$remove {"a":"y","b":"x","c":1}`}, `{"a":["x"],"b":"x"}`, nil},
		{"remove makes no profile", ``, []string{`$remove {"a":1}`}, ``, nil},
		{"remove of null and true", `{"a":[null,true,false]}`, []string{`$remove {"a":null}`, `$remove {"a":true}`}, `{"a":[false]}`, nil},
		{"union after remove", `{"a":[1,2,3]}`, []string{`$remove {"a":2}`, `$union {"a":[2,3]}`}, `{"a":[1,3,2]}`, nil},

		{"unset drops properties", `{"a":1,"b":[2],"c":3}`, []string{`$unset ["a","b","x"]`}, `{"c":3}`, nil},
		{"unset of all leaves a profile", `{"a":1}`, []string{`$unset ["\u0061"]`}, `{}`, nil},
		{"unset makes no profile", ``, []string{`$unset ["a"]`}, ``, nil},

		{"delete", `{"a":1}`, []string{`$delete ""`}, ``, nil},
		{"delete of nothing", ``, []string{`$delete null`}, ``, nil},
		{"append after delete begins a new list", `{"a":1,"b":[1]}`, []string{`$append {"b":2}`, `$delete ""`, `$append {"b":3}`}, `{"b":[3]}`, nil},
		{"delete after set", ``, []string{`$set {"a":1}`, `$delete ""`, `$unset ["a"]`}, ``, nil},
	} {
		got, refused := folded(t, tt.before, tt.operations...)
		if tt.refused == nil {
			tt.refused = Refused{}
		}
		if diff := cmp.Diff(tt.refused, refused); got != tt.want || diff != "" {
			t.Errorf("%s: %s, want %s; refused %s", tt.name, got, tt.want, diff)
		}
	}
}

func TestLastSeen(t *testing.T) {
	t.Parallel()
	const noon = 1780315200000 // 2026-06-01T12:00:00Z
	type step struct {
		verb  schema.Verb
		value string
		seen  int64 // -1: $ignore_time
	}
	for _, tt := range []struct {
		name, before string
		steps        []step
		want         string
	}{
		{"it is set", ``, []step{{schema.Set, `{"a":1}`, noon}}, `{"$last_seen":"2026-06-01T12:00:00","a":1}`},
		{"it is not, with $ignore_time", ``, []step{{schema.Set, `{"a":1}`, -1}}, `{"a":1}`},
		{"it moves forward", ``, []step{{schema.Set, `{}`, noon}, {schema.Add, `{"a":1}`, noon + 1000}}, `{"$last_seen":"2026-06-01T12:00:01","a":1}`},
		{"it does not move back", ``, []step{{schema.Set, `{}`, noon}, {schema.Set, `{}`, noon - 1000}}, `{"$last_seen":"2026-06-01T12:00:00"}`},
		{"it stays with $ignore_time", `{"$last_seen":"2020-01-01T00:00:00"}`, []step{{schema.Set, `{"a":1}`, -1}}, `{"$last_seen":"2020-01-01T00:00:00","a":1}`},
		{"it can be set", ``, []step{{schema.Set, `{"$last_seen":"2030-01-01T00:00:00"}`, noon}}, `{"$last_seen":"2030-01-01T00:00:00"}`},
		{"another value is replaced", `{"$last_seen":"yesterday"}`, []step{{schema.Set, `{}`, noon}}, `{"$last_seen":"2026-06-01T12:00:00"}`},
		{"what looks like one too", `{"$last_seen":"9999-99-99T99:99:99"}`, []step{{schema.Set, `{}`, noon}}, `{"$last_seen":"2026-06-01T12:00:00"}`},
		{"a list too", `{"$last_seen":[]}`, []step{{schema.Append, `{"$last_seen":1}`, noon}}, `{"$last_seen":"2026-06-01T12:00:00"}`},
		{"unset sees a profile", `{"a":1}`, []step{{schema.Unset, `["a"]`, noon}}, `{"$last_seen":"2026-06-01T12:00:00"}`},
		{"unset makes none", ``, []step{{schema.Unset, `["a"]`, noon}}, ``},
		{"remove makes none", ``, []step{{schema.Remove, `{"a":1}`, noon}}, ``},
		{"delete leaves none", `{"a":1}`, []step{{schema.Delete, `""`, noon}}, ``},
	} {
		p := newProfile(Refused{})
		p.begin([]byte("u"))
		if tt.before != "" {
			if err := p.read([]byte(rowID + "u" + `","properties":` + tt.before + "}\n")); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range tt.steps {
			if err := p.apply(operation(t, s.verb, s.value, s.seen)); err != nil {
				t.Fatal(err)
			}
		}
		if got := properties(t, p); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// text is a JSON string of n bytes, quotes included.
func text(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }

func TestLimits(t *testing.T) {
	t.Parallel()
	var full strings.Builder
	for i := range MaxProperties {
		fmt.Fprintf(&full, `,"p%04d":%d`, i, i)
	}
	properties := "{" + full.String()[1:] + "}"
	for _, verb := range []string{`$set {"q":1,"p0000":"new"}`, `$set_once {"q":1}`, `$add {"q":1}`, `$append {"q":1}`, `$union {"q":[1]}`} {
		got, refused := folded(t, properties, verb)
		want := properties
		if strings.Contains(verb, "new") {
			want = strings.Replace(want, `"p0000":0`, `"p0000":"new"`, 1)
		}
		if got != want || refused[TooManyProperties] != 1 || len(refused) != 1 {
			t.Errorf("%s to %d properties: refused %v", verb, MaxProperties, refused)
		}
	}
	got, refused := folded(t, properties, `$set {"$last_seen":"x"}`, `$unset ["p0000"]`, `$set {"q":1}`)
	if !strings.Contains(got, `"q":1`) || !strings.Contains(got, `"$last_seen":"x"`) || len(refused) > 0 {
		t.Errorf("$last_seen and one that was unset: refused %v", refused)
	}

	list := "[" + text(MaxComposite-2) + "]"
	for _, tt := range []struct {
		operation, before, want string
		refused                 int64
	}{
		{`$set {"a":` + list + `}`, ``, `{"a":` + list + `}`, 0},
		{`$set {"a":[` + text(MaxComposite-1) + `]}`, ``, `{}`, 1},
		{`$set {"a":[` + text(MaxComposite-1) + `],"b":1}`, `{"a":0}`, `{"a":0,"b":1}`, 1},
		{`$set {"a":{"b":` + text(MaxComposite-5) + `}}`, ``, `{}`, 1},
		{`$set {"a":` + text(MaxComposite+9) + `}`, ``, `{"a":` + text(MaxComposite+9) + `}`, 0}, // neither list nor object
		{`$append {"a":1}`, `{"a":` + list + `}`, `{"a":` + list + `}`, 1},
		{`$append {"a":` + text(MaxComposite-2) + `}`, `{"a":0}`, `{"a":` + list + `}`, 0},
		{`$append {"a":` + text(MaxComposite-1) + `}`, `{"a":0}`, `{"a":0}`, 1},
		{`$union {"a":[1]}`, `{"a":` + list + `}`, `{"a":` + list + `}`, 1},
		{`$union {"a":[` + text(MaxComposite-2) + `]}`, `{"a":` + list + `}`, `{"a":` + list + `}`, 0},
		{`$union {"a":[1,2],"b":[1]}`, `{"a":[0,` + text(MaxComposite-7) + `]}`, `{"a":[0,` + text(MaxComposite-7) + `],"b":[1]}`, 1},
		{`$union {"a":[1]}`, `{"a":[0,` + text(MaxComposite-6) + `]}`, `{"a":[0,` + text(MaxComposite-6) + `,1]}`, 0},
	} {
		got, refused := folded(t, tt.before, tt.operation)
		if got != tt.want || refused[PropertyTooLarge] != tt.refused || len(refused) > int(tt.refused) {
			t.Errorf("%.30s to %.30s: %.60s, refused %v", tt.operation, tt.before, got, refused)
		}
	}
	// A list that was refused elements takes others.
	got, refused = folded(t, `{"a":[0,`+text(MaxComposite-6)+`]}`, `$union {"a":[1,22]}`, `$union {"a":[22]}`, `$union {"a":[1]}`, `$remove {"a":0}`, `$append {"a":1}`)
	if want := `{"a":[` + text(MaxComposite-6) + `,1,1]}`; got != want || refused[PropertyTooLarge] != 2 {
		t.Errorf("%.30s … %s, refused %v", got, got[len(got)-20:], refused)
	}
}

// A profile never becomes longer than MaxProfile, and $last_seen always has its
// place.
func TestALongProfile(t *testing.T) {
	t.Parallel()
	refused := Refused{}
	p := newProfile(refused)
	p.begin([]byte("u"))
	apply := func(verb schema.Verb, value string, seen int64) {
		t.Helper()
		if err := p.apply(operation(t, verb, value, seen)); err != nil {
			t.Fatal(err)
		}
	}
	const part = 500_000
	for i := range 8 {
		apply(schema.Set, fmt.Sprintf(`{"p%d":%s}`, i, text(part)), -1)
	}
	rest := MaxProfile - p.size() - memberRoom - len("q")
	apply(schema.Set, fmt.Sprintf(`{"q":%s}`, text(rest+1)), -1)
	if refused[ProfileTooLarge] != 1 {
		t.Errorf("one byte too many: %v", refused)
	}
	apply(schema.Set, fmt.Sprintf(`{"q":%s}`, text(rest)), -1)
	if refused[ProfileTooLarge] != 1 || p.size() != MaxProfile {
		t.Errorf("%d bytes, refused %v", p.size(), refused)
	}
	for _, o := range []string{`$set {"r":1}`, `$append {"r":1}`, `$union {"r":[1]}`, `$add {"r":1}`, `$set_once {"r":1}`, `$set {"$last_seen":"2026-06-01T12:00:00.000"}`} {
		verb, value, _ := strings.Cut(o, " ")
		before := refused[ProfileTooLarge]
		apply(schema.Verb(verb), value, -1)
		if refused[ProfileTooLarge] != before+1 {
			t.Errorf("%s was applied", o)
		}
	}
	apply(schema.Set, `{"r":1}`, 1780315200000)
	row := p.append(nil)
	if len(row) != MaxProfile && len(row) != MaxProfile-1 {
		t.Errorf("the row has %d bytes", len(row))
	}
	if !strings.Contains(string(row[:100]), lastSeen) {
		t.Errorf("%s has no place", lastSeen)
	}
	again := newProfile(refused)
	if err := again.read(row); err != nil || again.size() != p.size() {
		t.Errorf("%d bytes, %v", again.size(), err)
	}
}

// Values may be nested deep: below some level they are compared as they are
// written, so that it takes no more time than for others.
func TestDeepValues(t *testing.T) {
	t.Parallel()
	deep := func(n int, inside string) string { return strings.Repeat("[", n) + inside + strings.Repeat("]", n) }
	objects := strings.Repeat(`{"b":0,"a":`, 9000) + "1" + strings.Repeat("}", 9000)
	lists := deep(9000, "1")
	got, refused := folded(t, ``, `$union {"a":[`+lists+`,`+lists+`],"b":[`+objects+`,`+objects+`]}`, `$union {"a":[`+lists+`],"b":[`+objects+`]}`)
	if want := `{"a":[` + lists + `],"b":[` + objects + `]}`; got != want || len(refused) > 0 {
		t.Errorf("%d bytes, want %d, refused %v", len(got), len(want), refused)
	}
	for _, tt := range []struct {
		depth int
		same  bool
	}{{comparedDepth - 1, true}, {comparedDepth, false}} {
		got, _ := folded(t, ``, `$union {"a":[`+deep(tt.depth, "1")+`]}`, `$union {"a":[`+deep(tt.depth, "1.0")+`]}`)
		if same := !strings.Contains(got, "1.0"); same != tt.same {
			t.Errorf("%d levels: %.200s", tt.depth, got)
		}
	}
}

// model is a profile as one would write it without a thought about memory.
type model map[string]any

func (m *model) apply(verb schema.Verb, value any) {
	if verb == schema.Delete {
		*m = nil
		return
	}
	if *m == nil && verb != schema.Unset && verb != schema.Remove {
		*m = model{}
	}
	if verb == schema.Unset {
		for _, name := range value.([]any) {
			delete(*m, name.(string))
		}
		return
	}
	for name, v := range value.(map[string]any) {
		before, there := (*m)[name]
		list, isList := before.([]any)
		switch verb {
		case schema.Set:
			(*m)[name] = v
		case schema.SetOnce:
			if !there {
				(*m)[name] = v
			}
		case schema.Add:
			if n, ok := before.(float64); ok || !there {
				(*m)[name] = n + v.(float64)
			}
		case schema.Append:
			(*m)[name] = append(slices.Clone(list), v)
		case schema.Union:
			list = append([]any{}, list...)
			for _, e := range v.([]any) {
				if !slices.ContainsFunc(list, func(x any) bool { return cmp.Equal(x, e) }) {
					list = append(list, e)
				}
			}
			(*m)[name] = list
		case schema.Remove:
			if isList {
				(*m)[name] = slices.DeleteFunc(append([]any{}, list...), func(x any) bool { return cmp.Equal(x, v) })
			}
		}
	}
}

func randomScalar(r *rand.Rand) string {
	return []string{"null", "true", `"x"`, `"\u00e4\n"`, fmt.Sprint(r.IntN(4)), fmt.Sprintf("%d.0", r.IntN(4))}[r.IntN(6)]
}

func randomValue(r *rand.Rand, depth int) string {
	var b strings.Builder
	switch n := r.IntN(4); {
	case depth > 0 && r.IntN(3) == 0:
		b.WriteByte('[')
		for i := range n {
			b.WriteString(strings.Repeat(",", min(i, 1)) + randomValue(r, depth-1))
		}
		b.WriteByte(']')
	case depth > 0 && r.IntN(6) == 0:
		b.WriteByte('{')
		for i := range n {
			fmt.Fprintf(&b, `%s"%d":%s`, strings.Repeat(",", min(i, 1)), i, randomValue(r, depth-1))
		}
		b.WriteByte('}')
	default:
		return randomScalar(r)
	}
	return b.String()
}

// randomOperation is a verb with a value that it takes.
func randomOperation(r *rand.Rand) (schema.Verb, string) {
	verb := []schema.Verb{
		schema.Set, schema.SetOnce, schema.Add, schema.Append, schema.Append, schema.Append,
		schema.Union, schema.Union, schema.Remove, schema.Remove, schema.Unset, schema.Set,
	}[r.IntN(12)]
	if r.IntN(60) == 0 {
		return schema.Delete, `""`
	}
	var members []string
	for i := range 1 + r.IntN(3) {
		name := fmt.Sprintf("%q", string(rune('a'+4*i+r.IntN(4))))
		switch verb {
		case schema.Unset:
			members = append(members, name)
			continue
		case schema.Add:
			name += ":" + fmt.Sprint(r.IntN(9)-4)
		case schema.Union:
			var list []string
			for range r.IntN(4) {
				list = append(list, randomValue(r, 1))
			}
			name += ":[" + strings.Join(list, ",") + "]"
		case schema.Remove:
			name += ":" + randomScalar(r)
		default:
			name += ":" + randomValue(r, 2)
		}
		members = append(members, name)
	}
	all := strings.Join(members, ",")
	if verb == schema.Unset {
		return verb, "[" + all + "]"
	}
	return verb, "{" + all + "}"
}

func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	refused := Refused{}
	p := newProfile(refused)
	verbs := map[schema.Verb]int{}
	for range 400 {
		p.begin([]byte("u"))
		var m model
		for i := range r.IntN(120) {
			verb, value := randomOperation(r)
			verbs[verb]++
			if err := p.apply(operation(t, verb, value, -1)); err != nil {
				t.Fatal(err)
			}
			var decoded any
			if err := json.Unmarshal([]byte(value), &decoded); err != nil {
				t.Fatal(err)
			}
			m.apply(verb, decoded)
			got := properties(t, p)
			if (m == nil) != (got == "") {
				t.Fatalf("%s %s: %q, want %v", verb, value, got, m)
			}
			if m != nil {
				var have model
				if err := json.Unmarshal([]byte(got), &have); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(m, have); diff != "" {
					t.Fatalf("%s %s: %s", verb, value, diff)
				}
			}
			// A profile that is written and read is the same.
			if m != nil && i%7 == 0 {
				if err := p.read(p.append(nil)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if len(verbs) != 8 || slices.Min(slices.Collect(maps.Values(verbs))) < 50 {
		t.Errorf("verbs %v", verbs)
	}
}

func TestRowsThatAreNotProfiles(t *testing.T) {
	t.Parallel()
	for _, row := range []string{
		"", "\n", `{"distinct_id":"u"`, `{"distinct_id":"u","properties":{}}`, `{"distinct_id":"u","properties":[]}` + "\n",
		`{"distinct_id":"u","properties":{"b":1,"a":2}}` + "\n", `{"distinct_id":"u","properties":{"a":1,"a":2}}` + "\n",
		`{"distinct_id":"u","properties":{"a"}}` + "\n", `{"distinct_id":"u","properties":}}` + "\n", `{"distinct_id":"u","properties":{` + "\n",
	} {
		if err := newProfile(Refused{}).read([]byte(row)); err == nil {
			t.Errorf("%q is taken for a profile", row)
		}
	}
}
