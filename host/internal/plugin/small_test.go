package plugin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPluginEnv(t *testing.T) {
	host := []string{
		"PATH=/bin", "HOME=/root", "SHOP_TOKEN=secret", "AWS_PROFILE=x", "AWSX=1", "GOOGLE_APPLICATION_CREDENTIALS=/k",
		"AZURE_TENANT_ID=t", "LC_ALL=C", "LD_PRELOAD=/evil.so", "TMPDIR=/big", "https_proxy=http://p", "EXTRA=1", "broken",
	}
	want := []string{
		"PATH=/bin", "HOME=/root", "AWS_PROFILE=x", "LC_ALL=C", "https_proxy=http://p", "EXTRA=1", "TMPDIR=/private",
	}
	if diff := cmp.Diff(want, pluginEnv(host, []string{"EXTRA", "AWS_*"}, "/private")); diff != "" {
		t.Error(diff)
	}
}

// Secrets that a plugin gets by its environment are kept out of messages, and
// names of files and places are not.
func TestSecretsOfTheEnvironment(t *testing.T) {
	got := envSecrets([]string{
		"AWS_SECRET_ACCESS_KEY=s1", "AWS_SESSION_TOKEN=s2", "AZURE_CLIENT_SECRET=s3", "AZURE_CLIENT_CERTIFICATE_PASSWORD=s4", "HTTPS_PROXY=http://u:s5@proxy:3128",
		"AWS_REGION=eu-west-1", "AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/token", "GOOGLE_APPLICATION_CREDENTIALS=/key.json", "NO_PROXY=localhost", "HOME=/root",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x", "PATH=/bin",
	})
	if diff := cmp.Diff([]string{"s1", "s2", "s3", "s4", "s5"}, got); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestBudget(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	b := budget{rules: Restart{Initial: time.Second, Max: 3 * time.Second, Budget: 4, Window: time.Minute}}
	if pause, spent, _ := b.wait(now); pause != 0 || spent {
		t.Errorf("without a crash: %s, %t", pause, spent)
	}
	first := now
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
		b.crashed(now, errors.New("boom"))
		if pause, spent, _ := b.wait(now); pause != want || spent {
			t.Errorf("crash %d: %s, %t, want %s", i+1, pause, spent, want)
		}
		if pause, _, _ := b.wait(now.Add(want)); pause != 0 {
			t.Errorf("crash %d: %s left after the pause", i+1, pause)
		}
		now = now.Add(5 * time.Second)
	}
	b.crashed(now, errors.New("boom"))
	if _, spent, until := b.wait(now); !spent || !until.Equal(first.Add(time.Minute)) {
		t.Errorf("after the budget: %t, until %s", spent, until)
	}
	if _, spent, _ := b.wait(first.Add(time.Minute)); spent {
		t.Error("still spent when the first crash has left the window")
	}
	if pause, spent, _ := b.wait(now.Add(time.Minute)); pause != 0 || spent {
		t.Errorf("after the window: %s, %t", pause, spent)
	}
}

func TestSweep(t *testing.T) {
	base := shortTemp(t)
	live, err := newRunDir(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(base, runPrefix+"123", "tmp")
	other := filepath.Join(base, "other")
	if err := errors.Join(os.MkdirAll(dead, 0o700), os.Mkdir(other, 0o700), os.Symlink(other, filepath.Join(base, runPrefix+"link"))); err != nil {
		t.Fatal(err)
	}
	if n, err := Sweep(base); n != 1 || err != nil {
		t.Errorf("sweep = %d, %v", n, err)
	}
	for path, want := range map[string]bool{live.path: true, filepath.Dir(dead): false, other: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", path, err == nil, want)
		}
	}
	if err := live.remove(); err != nil {
		t.Error(err)
	}
	if n, err := Sweep(filepath.Join(base, "nowhere")); n != 0 || err != nil {
		t.Errorf("sweep of nothing = %d, %v", n, err)
	}
}

func TestRunBase(t *testing.T) {
	if got := runBase("/run/penstock"); got != "/run/penstock" {
		t.Errorf("runBase = %s", got)
	}
	if got := runBase("/" + strings.Repeat("long/", 20)); got != os.TempDir() {
		t.Errorf("runBase of a long name = %s", got)
	}
}
