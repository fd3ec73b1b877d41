package snowflake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/azurecontainer"
	"github.com/penstock-io/penstock/plugins/internal/gcsbucket"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// external holds the attributes of an external stage: a bucket that the plugin uploads
// to, and that the service reads through a storage integration.
type external struct {
	Integration string `json:"storage_integration"`
	URL         string `json:"stage_url"`
	Endpoint    string `json:"stage_endpoint"`

	amazonAttributes
	googleAttributes
	azureAttributes
}

// bucketPrefix begins the names of the attributes of the bucket, which are those of the
// destination of its cloud.
const bucketPrefix = "stage_"

// cloud is a service whose buckets can be external stages.
type cloud struct {
	name    string
	schemes []string // of stage_url
	example string   // of stage_url
	// attributes of the bucket, with the names that the cloud's own destination gives them.
	attributes []schema.Attribute
	// texts turns texts about attributes of the cloud's own destination into texts about
	// those of an external stage.
	texts func(string) string
	// open returns the bucket of a URL that has one of the schemes. It returns an error
	// whose text says which part of the URL is wrong.
	open func(e external, u *url.URL) (bucket, error)
}

// clouds are all services whose buckets can be external stages.
var clouds = []*cloud{&amazon, &google, &azure}

// bucket is the place of an external stage.
type bucket interface {
	// check returns the mistakes of the bucket's attributes together with those that were
	// found before, all with the names of the cloud's own destination.
	check(found sdk.Diagnostics) error
	// store returns the bucket as a store. It makes no network call.
	store(ctx context.Context, project sdk.Project, shared *pools) (lake.Store, error)
	// root is the URL of the bucket, with a slash at its end.
	root() string
	// folders begins the names of all objects, without slashes at its ends.
	folders() string
	// setup returns the steps that make the bucket and the identity that writes to it.
	setup(r sdk.SetupRequest) ([]sdk.SetupStep, error)
	// reader returns the parts of a setup that let the service read the bucket.
	reader(p *preparation) reader
}

// pools are the buffers of uploads to buckets, which all destinations of a process share.
// None is in memory before the first upload to its cloud.
type pools struct{ amazon, google, azure *parts.Pool }

func newPools() *pools {
	return &pools{s3bucket.NewPool(), gcsbucket.NewPool(), azurecontainer.NewPool()}
}

// externalAttributes returns the attributes of an external stage.
func externalAttributes() []schema.Attribute {
	found := []schema.Attribute{
		{Name: "storage_integration", Type: schema.String, Description: "The storage integration through which Snowflake reads the bucket of stage_url."},
		{Name: "stage_url", Type: schema.String, Description: "The place in a bucket where files wait for COPY, as in " + examples() + ". Without it an internal stage, which needs no bucket."},
		{Name: "stage_endpoint", Type: schema.String, Description: "With stage_url: the URL of another server that has the bucket. Without it the cloud's own."},
	}
	for _, c := range clouds {
		for _, a := range c.attributes {
			a.Name, a.Description = bucketPrefix+a.Name, "With stage_url at "+c.name+": "+c.texts(a.Description)
			found = append(found, a)
		}
	}
	return found
}

// examples lists the forms of stage_url.
func examples() string {
	var forms []string
	for _, c := range clouds {
		forms = append(forms, fmt.Sprintf("%q", c.example))
	}
	return strings.Join(forms[:len(forms)-1], ", ") + " or " + forms[len(forms)-1]
}

// renamed returns a function that puts the prefix in front of the names of attributes in a
// text. Names that are words of the language too are replaced where the phrases have them.
func renamed(names []string, phrases ...string) func(string) string {
	words := regexp.MustCompile(`\b(` + strings.Join(names, "|") + `)\b`)
	replace := strings.NewReplacer(phrases...)
	return func(text string) string { return words.ReplaceAllString(replace.Replace(text), bucketPrefix+"$1") }
}

// isSet reports whether the configuration selects an external stage.
func (e external) isSet() bool { return e.URL != "" || e.Integration != "" }

// cloud returns the cloud that the stage's URL names; nil: none.
func (e external) cloud() *cloud {
	scheme, _, _ := strings.Cut(e.URL, "://")
	for _, c := range clouds {
		if slices.Contains(c.schemes, scheme) {
			return c
		}
	}
	return nil
}

// bucket returns the cloud and the bucket of the stage's URL. The text of an error says
// which form is right.
func (e external) bucket() (*cloud, bucket, error) {
	c := e.cloud()
	if c == nil {
		return nil, nil, errors.New(e.otherForm())
	}
	u, err := url.Parse(e.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(e.URL, "'\"\\%?#") || strings.ContainsFunc(e.URL, isControl) {
		return c, nil, fmt.Errorf("a URL at %s looks like %q: the bucket, and folders without quotes, backslashes, percent signs, ? and #", c.name, c.example)
	}
	b, err := c.open(e, u)
	return c, b, err
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// otherForms are beginnings of URLs that other programs take, with the cloud that is meant.
var otherForms = []struct {
	form *regexp.Regexp
	of   *cloud
}{
	{regexp.MustCompile(`^gs://|^https?://storage\.(googleapis|cloud\.google)\.com`), &google},
	{regexp.MustCompile(`^(azblob|az|abfss?|wasbs?|adl)://|^https?://[^/]*\.(blob|dfs)\.core\.`), &azure},
	{regexp.MustCompile(`^s3[an]://|^https?://([^/]*\.)?s3[.-][^/]*amazonaws\.com|^arn:aws`), &amazon},
}

// otherForm is the text about a URL that begins as none of Snowflake's does.
func (e external) otherForm() string {
	for _, o := range otherForms {
		if o.form.MatchString(e.URL) {
			return fmt.Sprintf("Snowflake writes a URL at %s as in %q", o.of.name, o.of.example)
		}
	}
	return "a URL looks like " + examples()
}

// check finds the mistakes in the attributes of an external stage.
func (e external) check(m *mistakes) {
	switch {
	case !e.isSet():
	case e.URL == "":
		m.add("stage_url", "URL of the stage is missing", "storage_integration is set: set stage_url to a place that the integration allows, as in %s.", examples())
	case e.Integration == "":
		m.add("storage_integration", "Storage integration is missing", "stage_url is set: set storage_integration to the integration through which Snowflake reads it.")
	}
	if e.Integration != "" && !isName(e.Integration) {
		m.addName("storage_integration", e.Integration)
	}
	e.checkUsed(m)
	if e.URL == "" {
		return
	}
	c, b, err := e.bucket()
	if err != nil {
		m.add("stage_url", "Not the URL of a bucket", "%q: %s.", e.URL, err)
		return
	}
	e.checkBucket(m, c, b)
}

// checkUsed finds attributes of a bucket that have a value of their own and no use.
func (e external) checkUsed(m *mistakes) {
	for _, c := range clouds {
		if e.URL != "" && (e.cloud() == nil || c == e.cloud()) {
			continue
		}
		for _, a := range c.attributes {
			if name := bucketPrefix + a.Name; e.sets(name, a.Default) {
				m.add(name, "Attribute is not used", "%s is for an external stage at %s: set stage_url to a place like %q, or remove it.", name, c.name, c.example)
			}
		}
	}
	if e.Endpoint != "" && e.URL == "" {
		m.add("stage_endpoint", "Attribute is not used", "stage_endpoint is for an external stage: set stage_url and storage_integration, or remove it.")
	}
}

// sets reports whether an attribute has another value than none and its default.
func (e external) sets(name string, standard any) bool {
	data, err := json.Marshal(e)
	if err != nil {
		return false
	}
	var values map[string]any
	if json.Unmarshal(data, &values) != nil {
		return false
	}
	value := values[name]
	return value != nil && value != "" && value != false && value != standard
}

// checkBucket finds the mistakes of the bucket. Those that were found before are its
// attributes that are set to nothing.
func (e external) checkBucket(m *mistakes, c *cloud, b bucket) {
	var before, found sdk.Diagnostics
	for _, d := range m.found {
		if name, ok := strings.CutPrefix(d.Attribute, bucketPrefix); ok && name != "url" {
			d.Attribute = name
			before = append(before, d)
		}
	}
	if errors.As(b.check(before), &found) {
		m.found = append(m.found, c.asStage(found[len(before):])...)
	}
}

// asStage returns mistakes of a bucket's attributes as those of an external stage's.
func (c *cloud) asStage(found sdk.Diagnostics) sdk.Diagnostics {
	var out sdk.Diagnostics
	for _, d := range found {
		switch d.Attribute {
		case "bucket", "prefix", "container", "storage_account":
			d.Attribute = "stage_url"
		case "":
		default:
			d.Attribute = bucketPrefix + d.Attribute
		}
		d.Detail = c.texts(d.Detail)
		out = append(out, d)
	}
	return out
}

// error returns an error of the bucket with the names of this destination's attributes
// in its hint.
func (c *cloud) error(err error) error {
	var found sdk.Diagnostics
	if errors.As(err, &found) {
		return c.asStage(found)
	}
	e := new(sdk.Error)
	if errors.As(err, &e) && e.Hint != "" {
		changed := *e
		changed.Hint = "the bucket of stage_url: " + c.texts(e.Hint)
		return &changed
	}
	return err
}

// externalStage is a stage over a bucket. The plugin uploads and removes files with
// credentials of its own, since PUT and REMOVE of an integration that may only read are
// refused; the service lists and reads.
type externalStage struct {
	config config
	cloud  *cloud
	store  lake.Store
	base   string // begins the names of objects, with a slash at its end
	url    string // of base
}

// newExternalStage makes no network call.
func newExternalStage(ctx context.Context, c config, project sdk.Project, shared *pools) (*externalStage, error) {
	of, b, err := c.bucket()
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("read stage_url: %w", err), "")
	}
	store, err := b.store(ctx, project, shared)
	if err != nil {
		return nil, of.error(err)
	}
	base := path.Join(b.folders(), fmt.Sprint(project.ID)) + "/"
	return &externalStage{config: c, cloud: of, store: store, base: base, url: b.root() + base}, nil
}

func (s *externalStage) name() string { return externalStageName }

func (s *externalStage) outside() bool { return true }

func (s *externalStage) create(name string) string {
	return "CREATE STAGE IF NOT EXISTS " + s.config.in(name) + " URL = " + literal(s.url) + " STORAGE_INTEGRATION = " + identifier(s.config.Integration) + " COMMENT = 'Files of Penstock that wait for COPY.'"
}

func (s *externalStage) grants(name string) string {
	return s.config.grantOn("USAGE", "STAGE", s.config.in(name)) + "; " + s.config.grantIntegration()
}

// compare refuses a stage that reads another place than the one that is written to: its
// listings would be empty.
func (s *externalStage) compare(described row) error {
	if strings.TrimSuffix(described["url"], "/") == strings.TrimSuffix(s.url, "/") {
		return nil
	}
	return sdk.Configuration(fmt.Errorf("the stage %s reads %q, and files are uploaded to %q", externalStageName, described["url"], s.url),
		"correct stage_url; or, when no run is going on: DROP STAGE "+s.config.in(externalStageName)+"; the next run creates it")
}

// relative compares a name with the stage's URL without their schemes: the scheme that LIST
// writes for a stage at s3gov:// or s3china:// is documented nowhere.
func (s *externalStage) relative(name string) (string, bool) {
	_, place, _ := strings.Cut(s.url, "://")
	_, rest, _ := strings.Cut(name, "://")
	return strings.CutPrefix(rest, place)
}

// put uploads a file. The object is there as a whole or not at all.
func (s *externalStage) put(ctx context.Context, _ *session, file, _, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return spoolError(fmt.Errorf("open a spool file: %w", err))
	}
	defer func() { _ = f.Close() }()
	up, err := s.store.Create(ctx, s.base+dir+filepath.Base(file), lake.Attempt{})
	if err != nil {
		return s.cloud.error(err)
	}
	if _, err = io.Copy(up, f); err == nil {
		err = up.Finish(ctx)
	}
	if err != nil {
		aborting, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
		defer cancel()
		return s.cloud.error(errors.Join(err, up.Abort(aborting)))
	}
	return nil
}

// remove removes the files of a directory, and ends the uploads into it.
func (s *externalStage) remove(ctx context.Context, _ *session, _, dir string) error {
	var names []string
	err := s.store.List(ctx, s.base+dir, true, func(o lake.Object) error {
		names = append(names, o.Name)
		return nil
	})
	if err == nil && len(names) > 0 {
		err = s.store.Delete(ctx, names)
	}
	if err == nil {
		err = s.endUploads(ctx, dir, func(string) bool { return true })
	}
	return s.cloud.error(err)
}

// tidy ends the uploads that killed attempts of the pipeline have begun: an upload that
// is not finished is in no listing.
func (s *externalStage) tidy(ctx context.Context, run sdk.Run) error {
	return s.cloud.error(s.endUploads(ctx, pipelineDir(run), func(name string) bool {
		a, ok := attemptIn(strings.TrimPrefix(name, s.base))
		return ok && a.fence < run.Fence
	}))
}

func (s *externalStage) endUploads(ctx context.Context, dir string, match func(string) bool) error {
	ender, ok := s.store.(lake.UploadEnder)
	if !ok {
		return nil
	}
	return ender.EndUploads(ctx, s.base+dir, match)
}
