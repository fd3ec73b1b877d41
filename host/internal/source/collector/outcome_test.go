package collector

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// A discarded outcome has nothing of the one before, whatever fields there are.
func TestADiscardedOutcomeIsEmpty(t *testing.T) {
	var full outcome
	for i := range reflect.TypeFor[outcome]().NumField() {
		field := fieldOf(&full, i)
		switch field.Kind() {
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 3, 3))
		case reflect.Int:
			field.SetInt(3)
		case reflect.String:
			field.SetString("problem")
		case reflect.Interface:
			field.Set(reflect.ValueOf(http.ErrAbortHandler))
		default:
			t.Fatalf("a field of kind %s", field.Kind())
		}
	}
	empty := full.discarded(newCollector(t, options(&book{})))
	for i := range reflect.TypeFor[outcome]().NumField() {
		name, field := reflect.TypeFor[outcome]().Field(i).Name, fieldOf(&empty, i)
		if field.Kind() == reflect.Slice && (field.Len() != 0 || field.Cap() != 3) || field.Kind() != reflect.Slice && !field.IsZero() {
			t.Errorf("%s is %v", name, field)
		}
	}
}

// fieldOf is a field that can be set.
func fieldOf(o *outcome, i int) reflect.Value {
	field := reflect.ValueOf(o).Elem().Field(i)
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
}

// knownAliases are aliases in memory.
type knownAliases map[string]string

func (a knownAliases) Target(project int64, alias string) (string, bool, error) {
	id, ok := a[fmt.Sprint(project, " ", alias)]
	return id, ok, nil
}

func (a knownAliases) Store(list []Alias, store func() error) error {
	if err := store(); err != nil {
		return err
	}
	for _, x := range list {
		a[fmt.Sprint(x.Project, " ", x.Alias)] = x.ID
	}
	return nil
}

// An alias counts when its event is stored, and not when it stands in a body
// that is refused after it.
func TestARefusedBodyActivatesNoAlias(t *testing.T) {
	const alias = `{"event":"$create_alias","properties":{"token":"old-token","distinct_id":"D","alias":"X"}}`
	event := `{"event":"e","properties":{"token":"old-token","distinct_id":"X"}}`
	for name, body := range map[string]string{
		"torn":               "[" + alias + ",",
		"garbage behind":     alias + "garbage",
		"too many records":   "[" + alias + strings.Repeat(","+event, MaxRecords) + "]",
		"identity elsewhere": "[" + alias + `,{"event":"$identify","properties":{"token":"shop-token"}},`,
	} {
		for _, path := range []string{"/track", "/import?strict=0"} {
			t.Run(name+", "+path, func(t *testing.T) {
				b := &book{}
				o := options(b)
				o.Projects = append([]Project{{ID: 1004, Token: "old-token", Identity: schema.Legacy}}, testProjects...)
				known := knownAliases{}
				o.Aliases = known
				o.MaxBody = 1_000_000
				c := newCollector(t, o)
				w := send(c, user(post(path, asJSON, body), "old-token", ""))
				if lines := b.taken(); len(lines) != 0 {
					t.Fatalf("%d %s: %q is stored", w.Code, w.Body, lines)
				}
				// The memory of the request is used again.
				says(t, send(c, post("/track", asJSON, event)), http.StatusOK, "1")
				if lines := b.taken(); len(known) != 0 || len(lines) != 1 || !strings.Contains(lines[0], `{"device_id":null,"distinct_id":"X"`) {
					t.Errorf("aliases %v, rows %q", known, lines)
				}
				says(t, send(c, post("/track", asJSON, "["+alias+","+event+"]")), http.StatusOK, "1")
				if lines := b.taken(); len(known) != 1 || len(lines) != 3 || !strings.Contains(lines[1], `{"device_id":null,"distinct_id":"D"`) {
					t.Errorf("aliases %v, rows %q", known, lines)
				}
			})
		}
	}
}
