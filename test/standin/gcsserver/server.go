package gcsserver

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pageSize is the most items of a list in one answer: small, so that every
// test sees several pages.
const pageSize = 7

// Server is one Cloud Storage with one bucket. The exported fields are set
// before the first request.
type Server struct {
	// Bucket is the name of the only bucket.
	Bucket string
	// Location of the bucket, as in "US-CENTRAL1".
	Location string
	// Token is the bearer token that requests must carry; empty: none.
	Token string
	// Authorize reports whether a bearer token may be used; nil: Token decides.
	Authorize func(token string) bool
	// Retention forbids to overwrite and to delete objects.
	Retention bool
	// Denied are the permissions that the account lacks, such as
	// "storage.objects.delete".
	Denied []string
	// DeniedKey is the name of a Cloud KMS key that the service may not use.
	DeniedKey string
	// KeepBytes is the most bytes that are kept of one request of a resumable
	// upload, a multiple of 256 KiB; 0: all.
	KeepBytes int

	mu       sync.Mutex
	objects  map[string]*object
	sessions map[string]*session
	clock    int64 // of generations and sessions
}

// object is one live object.
type object struct {
	data           []byte
	generation     int64
	metageneration int64
	updated        time.Time
	attrs          attributes
}

// attributes are the part of an object that a client may set.
type attributes struct {
	Name        string            `json:"name"`
	ContentType string            `json:"contentType,omitempty"`
	CRC32C      string            `json:"crc32c,omitempty"`
	KMSKeyName  string            `json:"kmsKeyName,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// session is one resumable upload.
type session struct {
	attrs attributes
	query url.Values
	data  []byte
	done  *object // the finished object; nil: the upload is not finished
}

// failure is an answer that refuses.
type failure struct {
	code            int
	reason, message string
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(r) {
		failure{http.StatusUnauthorized, "authError", "Invalid Credentials"}.write(w)
		return
	}
	if fail := s.route(w, r); fail != nil {
		fail.write(w)
	}
}

// allowed refuses a call that needs a permission which the account lacks.
func (s *Server) allowed(permission string) *failure {
	if !slices.Contains(s.Denied, permission) {
		return nil
	}
	return &failure{http.StatusForbidden, "forbidden", fmt.Sprintf("export@acme.iam.gserviceaccount.com does not have %s access to the Google Cloud Storage object. "+
		"Permission '%s' denied on resource (or it may not exist).", permission, permission)}
}

// permissionOf returns the permission that a request for objects needs before
// anything else is looked at; those of inserts are checked when they are stored.
func permissionOf(r *http.Request, name string) string {
	switch {
	case r.Method == http.MethodPost || r.Method == http.MethodPut:
		return "storage.objects.create"
	case r.Method == http.MethodPatch:
		return "storage.objects.update"
	case r.Method == http.MethodDelete:
		return "storage.objects.delete"
	case name == "":
		return "storage.objects.list"
	}
	return "storage.objects.get"
}

func (s *Server) authorized(r *http.Request) bool {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.Authorize != nil {
		return bearer && s.Authorize(token)
	}
	return s.Token == "" || (bearer && token == s.Token)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) *failure {
	path := r.URL.EscapedPath()
	upload := strings.HasPrefix(path, "/upload/")
	path = strings.TrimPrefix(strings.TrimPrefix(path, "/upload"), "/download")
	rest, ok := strings.CutPrefix(path, "/storage/v1/b/")
	if !ok {
		return unknown(r)
	}
	bucket, rest, _ := strings.Cut(rest, "/")
	if bucket != s.Bucket {
		return &failure{http.StatusNotFound, "notFound", "The specified bucket does not exist."}
	}
	name, action, ok := target(rest)
	if !ok {
		return unknown(r)
	}
	if fail := s.allowed(permissionOf(r, name)); fail != nil && rest != "" {
		return fail
	}
	switch {
	case upload:
		return s.upload(w, r)
	case rest == "" && r.Method == http.MethodGet:
		if fail := s.allowed("storage.buckets.get"); fail != nil {
			return fail
		}
		return answer(w, map[string]any{"kind": "storage#bucket", "name": s.Bucket, "location": s.Location})
	case name == "" && r.Method == http.MethodGet:
		return s.list(w, r)
	case action == "compose" && r.Method == http.MethodPost:
		return s.compose(w, r, name)
	case action != "":
		return unknown(r)
	case r.Method == http.MethodGet && r.URL.Query().Get("alt") == "media":
		return s.media(w, r, name)
	case r.Method == http.MethodGet:
		return s.get(w, r, name)
	case r.Method == http.MethodPatch:
		return s.patch(w, r, name)
	case r.Method == http.MethodDelete:
		return s.remove(w, r, name)
	}
	return unknown(r)
}

// target splits the path after the bucket: "", "o", "o/NAME" or "o/NAME/ACTION".
func target(rest string) (name, action string, ok bool) {
	if rest == "" || rest == "o" {
		return "", "", true
	}
	rest, ok = strings.CutPrefix(rest, "o/")
	escaped, action, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(escaped)
	return name, action, ok && err == nil
}

func unknown(r *http.Request) *failure {
	return &failure{http.StatusNotImplemented, "notImplemented", "the stand-in does not know " + r.Method + " " + r.URL.Path}
}

func (f failure) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(f.code)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": f.code, "message": f.message,
		"errors": []map[string]any{{"message": f.message, "domain": "global", "reason": f.reason}},
	}})
}

func answer(w http.ResponseWriter, v any) *failure {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(v)
	return nil
}

func notFound(name string) *failure {
	return &failure{http.StatusNotFound, "notFound", "No such object: " + name}
}

// resource is the object as the API describes it.
func (o *object) resource(bucket string) map[string]any {
	return map[string]any{
		"kind": "storage#object", "bucket": bucket, "name": o.attrs.Name, "size": strconv.Itoa(len(o.data)),
		"generation": strconv.FormatInt(o.generation, 10), "metageneration": strconv.FormatInt(o.metageneration, 10),
		"contentType": o.attrs.ContentType, "crc32c": o.attrs.CRC32C, "updated": o.updated.UTC().Format(time.RFC3339Nano), "kmsKeyName": o.attrs.KMSKeyName, "metadata": o.attrs.Metadata,
	}
}

// holds compares the preconditions of a request with an object, which may be
// nil.
func holds(query url.Values, o *object) *failure {
	refused := &failure{http.StatusPreconditionFailed, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."}
	current := map[string]int64{"ifGenerationMatch": 0, "ifMetagenerationMatch": 0}
	if o != nil {
		current["ifGenerationMatch"], current["ifMetagenerationMatch"] = o.generation, o.metageneration
	}
	for name, have := range current {
		if !query.Has(name) {
			continue
		}
		want, err := strconv.ParseInt(query.Get(name), 10, 64)
		if err != nil {
			return &failure{http.StatusBadRequest, "invalid", "Invalid value for " + name}
		}
		if want != have {
			return refused
		}
	}
	return nil
}

// store makes data the object of a name. The caller holds the lock.
func (s *Server) store(attrs attributes, data []byte, query url.Values) (*object, *failure) {
	old := s.objects[attrs.Name]
	if fail := holds(query, old); fail != nil {
		return nil, fail
	}
	if key := query.Get("kmsKeyName"); key != "" {
		attrs.KMSKeyName = key
	}
	if s.DeniedKey != "" && attrs.KMSKeyName == s.DeniedKey {
		return nil, &failure{http.StatusForbidden, "forbidden", "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been authorized to use this key."}
	}
	if fail := s.allowed("storage.objects.create"); fail != nil {
		return nil, fail
	}
	if fail := s.allowed("storage.objects.delete"); fail != nil && old != nil {
		return nil, fail
	}
	if old != nil && s.Retention {
		return nil, s.retained(attrs.Name)
	}
	if sum := checksum(data); attrs.CRC32C != "" && attrs.CRC32C != sum {
		return nil, &failure{http.StatusBadRequest, "invalid", fmt.Sprintf("Provided CRC32C %q doesn't match calculated CRC32C %q.", attrs.CRC32C, sum)}
	}
	attrs.CRC32C = checksum(data)
	s.clock++
	o := &object{data: data, generation: s.clock, metageneration: 1, updated: time.Now(), attrs: attrs}
	if s.objects == nil {
		s.objects = make(map[string]*object)
	}
	s.objects[attrs.Name] = o
	return o, nil
}

func (s *Server) retained(name string) *failure {
	return &failure{http.StatusForbidden, "retentionPolicyNotMet", fmt.Sprintf("Object '%s/%s' is subject to bucket's retention policy and cannot be deleted, overwritten or archived until 2026-12-01T00:00:00-00:00", s.Bucket, name)}
}

func checksum(data []byte) string {
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// Objects returns the names of all live objects, sorted.
func (s *Server) Objects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Key returns the name of the Cloud KMS key that an object was written with.
func (s *Server) Key(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[name]; o != nil {
		return o.attrs.KMSKeyName
	}
	return ""
}

// Files returns the bytes of all live objects by name.
func (s *Server) Files() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := make(map[string][]byte, len(s.objects))
	for name, o := range s.objects {
		files[name] = o.data
	}
	return files
}
