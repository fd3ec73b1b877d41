package lake

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/sdk"
)

// Directories of the streams, with Mixpanel's published names. Manifests lie in
// a separate directory: query engines skip files whose names begin with an
// underscore, but read the files in a directory that is named so.
const (
	eventsDir   = "mp_master_event"
	peopleDir   = "mp_people_data"
	identityDir = "mp_identity_mappings_data"
	manifestDir = "_penstock"
	asideDir    = "aside" // in the directory of a stream's manifests
)

// layout names the objects of one pipeline. It derives all names from project,
// pipeline and run, never from time, chance or fence.
type layout struct {
	dir  string // of the stream, with a slash at the end
	stem string // <pipeline>-<id>
	ext  string // of new objects
}

var (
	pipelineName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	pipelineID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	partName     = regexp.MustCompile(`^([0-9]{8,18})-([0-9]{4,})(\.json\.gz|\.parquet)$`)
)

// streamDirs maps a stream's name in manifests to its directory.
var streamDirs = map[string]string{"events": eventsDir, "people": peopleDir, "identity": identityDir}

// streamIn returns the name of the stream whose directory an object lies in, and
// where that directory begins. A prefix may have the name of a stream's directory
// too: the last one counts. -1: there is none.
func streamIn(name string) (stream string, at int) {
	at = -1
	for s, dir := range streamDirs {
		if i := strings.LastIndex("/"+name, "/"+dir+"/"); i > at {
			stream, at = s, i
		}
	}
	return stream, at
}

// StreamOf returns the stream whose directory an object lies in.
func StreamOf(name string) (stream sdk.Stream, ok bool) {
	found, at := streamIn(name)
	for _, s := range Capabilities().Streams {
		if at >= 0 && streamName(s) == found {
			return s, true
		}
	}
	return 0, false
}

// StreamDir returns the directory of a stream below root, with a slash at
// its end.
func StreamDir(root string, projectID int64, stream sdk.Stream) (string, error) {
	dir, ok := streamDirs[streamName(stream)]
	if !ok {
		return "", fmt.Errorf("stream %d is not known to this version of the plugin", stream)
	}
	return path.Join(root, strconv.FormatInt(projectID, 10), dir) + "/", nil
}

// Targets returns the target of each stream of a project: its directory below
// root. base is the URI of the bucket, with a slash at its end.
func Targets(base, root string, projectID int64) []sdk.Target {
	var targets []sdk.Target
	for _, stream := range Capabilities().Streams {
		if dir, err := StreamDir(root, projectID, stream); err == nil {
			targets = append(targets, sdk.Target{Stream: stream, URI: base + dir})
		}
	}
	return targets
}

func (l *Lake) layout(run sdk.Run) (layout, error) {
	dir, err := StreamDir(l.root, run.ProjectID, run.Stream)
	if err != nil {
		return layout{}, sdk.Permanent(err)
	}
	if !pipelineName.MatchString(run.Pipeline) || !pipelineID.MatchString(run.PipelineID) {
		return layout{}, sdk.Permanent(fmt.Errorf("pipeline %q with id %q cannot name an object", run.Pipeline, run.PipelineID))
	}
	if run.Number < 0 {
		return layout{}, sdk.Permanent(fmt.Errorf("run %d cannot name an object", run.Number))
	}
	return layout{dir: dir, stem: run.Pipeline + "-" + run.PipelineID, ext: l.format.Extension()}, nil
}

// manifestsOf returns the directory of the manifests that belong to a stream's
// directory.
func manifestsOf(root string, projectID int64, stream string) string {
	return path.Join(root, strconv.FormatInt(projectID, 10), manifestDir, stream) + "/"
}

func (l layout) manifests() string {
	parent, stream := path.Split(strings.TrimSuffix(l.dir, "/"))
	return parent + manifestDir + "/" + stream + "/"
}

func (l layout) manifest() string { return l.manifests() + l.stem + ".json" }

// target names the target's record, which lists the pipelines that may write.
// It lies next to the directory of manifests, not in it: every object there that
// ends in .json is a manifest.
func (l layout) target() string { return strings.TrimSuffix(l.manifests(), "/") + ".target.json" }

// receipts returns the directory of the runs' receipts.
func (l layout) receipts() string { return l.manifests() + "runs/" + l.stem + "/" }

// receipt names the object that keeps a run's receipt.
func (l layout) receipt(run int64) string { return fmt.Sprintf("%s%08d.json", l.receipts(), run) }

// receiptOf parses the name of a receipt.
func (l layout) receiptOf(name string) (run int64, ok bool) {
	run, err := strconv.ParseInt(strings.TrimSuffix(path.Base(name), ".json"), 10, 64)
	return run, err == nil && l.receipt(run) == name
}

// fixed names the object of a replaced set that is stored as one object.
func (l layout) fixed() string { return l.dir + l.stem + l.ext }

// isFixed reports whether a name is that of the fixed object, in any format.
func (l layout) isFixed(name string) bool {
	ext, ok := strings.CutPrefix(name, l.dir+l.stem)
	return ok && slices.Contains(extensions, ext)
}

// runStem returns the common start of the base names of a run's objects.
func (l layout) runStem(run int64) string { return fmt.Sprintf("%s-%08d-", l.stem, run) }

// part names a run's part-th object, from 1, of a date; the date is empty for
// a set that is replaced.
func (l layout) part(run int64, date string, part int) string {
	return l.day(date) + fmt.Sprintf("%s%04d%s", l.runStem(run), part, l.ext)
}

// day is the directory of a date: 2026-06-01 is at 2026/06/01/.
func (l layout) day(date string) string {
	if date == "" {
		return l.dir
	}
	return l.dir + strings.ReplaceAll(date, "-", "/") + "/"
}

func checkDate(date string) error {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil || t.Year() < 1 {
		return sdk.Permanent(fmt.Errorf("partition date %q is not of the form YYYY-MM-DD", date))
	}
	return nil
}

// owned parses the name of a part of this pipeline into date and run. ok is
// false for all other names.
func (l layout) owned(name string) (date string, run int64, ok bool) {
	rest, ok := strings.CutPrefix(name, l.dir)
	if !ok {
		return "", 0, false
	}
	dir, base := path.Split(rest)
	base, ok = strings.CutPrefix(base, l.stem+"-")
	if !ok {
		return "", 0, false
	}
	m := partName.FindStringSubmatch(base)
	if m == nil {
		return "", 0, false
	}
	run, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return "", 0, false
	}
	return strings.ReplaceAll(strings.TrimSuffix(dir, "/"), "/", "-"), run, true
}

// partOf returns the number of a part within its run and date.
func (l layout) partOf(name string) (part int, ok bool) {
	if _, _, ok := l.owned(name); !ok {
		return 0, false
	}
	m := partName.FindStringSubmatch(strings.TrimPrefix(path.Base(name), l.stem+"-"))
	if m == nil {
		return 0, false
	}
	part, err := strconv.Atoi(m[2])
	return part, err == nil
}

// dateOf returns the date of the day that an object of any name lies in. It is
// empty for an object that lies in no day.
func (l layout) dateOf(name string) string {
	rest, ok := strings.CutPrefix(name, l.dir)
	if !ok {
		return ""
	}
	date := strings.ReplaceAll(strings.TrimSuffix(path.Dir(rest), "/"), "/", "-")
	if checkDate(date) != nil {
		return ""
	}
	return date
}

// CleanPrefix validates a configured prefix and removes the slashes at its ends.
// It refuses empty elements, "." and "..", control characters and backslashes,
// and more than 512 bytes.
func CleanPrefix(prefix string) (string, error) {
	trimmed := strings.Trim(prefix, "/")
	if trimmed == "" {
		return "", nil
	}
	for element := range strings.SplitSeq(trimmed, "/") {
		if element == "" || element == "." || element == ".." {
			return "", fmt.Errorf("prefix %q has an element %q", prefix, element)
		}
		if strings.ContainsFunc(element, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' || r == 0xfffd }) {
			return "", fmt.Errorf("prefix %q holds a control character or a backslash", prefix)
		}
	}
	if len(trimmed) > 512 {
		return "", fmt.Errorf("prefix is %d bytes long, at most 512 are taken", len(trimmed))
	}
	return trimmed, nil
}
