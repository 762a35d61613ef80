package config

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/detnet/detnet/bitrate"
)

func asIs(c Config) (Config, error) { return c, nil }

// mounted plays a ConfigMap's volume: files are links through ..data, which is
// swapped as a whole.
type mounted struct {
	t   *testing.T
	dir string
	n   int
}

func (m *mounted) write(config, targets string) {
	m.t.Helper()
	m.n++
	fresh := filepath.Join(m.dir, "..version"+strings.Repeat("x", m.n))
	data := filepath.Join(m.dir, "..data")
	steps := []error{os.Mkdir(fresh, 0o700)}
	for name, text := range map[string]string{"config.yaml": config, "critical-apps.yaml": targets} {
		steps = append(steps, os.WriteFile(filepath.Join(fresh, name), []byte(text), 0o600))
		if m.n == 1 {
			steps = append(steps, os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)))
		}
	}
	steps = append(steps, os.Symlink(filepath.Base(fresh), data+"_tmp"), os.Rename(data+"_tmp", data))
	if err := cmp.Or(steps...); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mounted) path(name string) string { return filepath.Join(m.dir, name) }

const endpoint = "critical_apps: [{name: plc, port: 5201, max_jitter_ms: 1}]\n"

// watched is what a follower said last. It may say more while time passes, and
// only then.
type watched struct {
	mu      sync.Mutex
	now     Settings
	refused map[string]error
	calls   int
}

func watch(ctx context.Context, f *Files, now Settings) *watched {
	w := &watched{now: now}
	w.mu.Lock()
	go f.Follow(ctx, func(s Settings, r map[string]error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now, w.refused, w.calls = s, r, w.calls+1
	})
	return w
}

func (w *watched) pass(d time.Duration) {
	w.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
	w.mu.Lock()
}

func TestFollow(t *testing.T) {
	files := &mounted{t: t, dir: t.TempDir()}
	files.write("vantages: 1", endpoint+"control: {step_up: 20}")
	f, now, err := Open(files.path("config.yaml"), files.path("critical-apps.yaml"), asIs)
	if err != nil {
		t.Fatal(err)
	}
	f.Register(prometheus.NewRegistry())
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := watch(ctx, f, now)
		for _, step := range []struct {
			name, config, targets string
			vantages, apps        int
			up                    bitrate.Rate
			refused               map[string]string
		}{
			{"both change", "vantages: 4", endpoint + "control: {step_up: 30}", 4, 1, 30, nil},
			{"the configuration turns bad", "vantages: 0", endpoint + "control: {step_up: 30}", 4, 1, 30, map[string]string{ConfigFile: "vantages: 0 must be from 1 to 16"}},
			{"the targets still change", "vantages: 0", "control: {step_up: 40}", 4, 0, 40, map[string]string{ConfigFile: "vantages: 0"}},
			{"the targets turn bad too", "vantages: 0", "control: {window_size: 2}", 4, 0, 40, map[string]string{ConfigFile: "vantages: 0", TargetsFile: "control.window_size: 2 must be from 5 to 1000"}},
			{"the configuration is mended", "vantages: 5", "control: {window_size: 2}", 5, 0, 40, map[string]string{TargetsFile: "control.window_size"}},
			{"it wins over the targets", "vantages: 5\nlaws: {aimd: {increase: 50M, max: 400M}}", "control: {step_up: 60}", 5, 0, 50, nil},
			{"they don't go together", "vantages: 5\nlaws: {aimd: {increase: 50M, max: 400M}}", "control: {min_bandwidth: 500}", 5, 0, 50, map[string]string{TargetsFile: "laws.aimd.max: 400M must be from 500M"}},
			{"all is well", "vantages: 6", endpoint, 6, 1, 10, nil},
		} {
			files.write(step.config, step.targets)
			w.calls = 0
			w.pass(3 * interval)
			if w.now.Vantages != step.vantages || len(w.now.Targets.Apps) != step.apps || w.now.Laws.AIMD.Increase != step.up*bitrate.Mbit || w.calls != 1 {
				t.Errorf("%s: vantages %d, %d apps, increase %v, %d calls; want %d, %d, %dM, 1", step.name, w.now.Vantages, len(w.now.Targets.Apps), w.now.Laws.AIMD.Increase, w.calls, step.vantages, step.apps, step.up)
			}
			if got, want := slices.Sorted(maps.Keys(w.refused)), slices.Sorted(maps.Keys(step.refused)); !slices.Equal(got, want) {
				t.Errorf("%s: refused %v, want %v", step.name, w.refused, step.refused)
			}
			for name, err := range w.refused {
				if !strings.Contains(err.Error(), step.refused[name]) || !strings.Contains(err.Error(), files.dir) {
					t.Errorf("%s: error %q lacks %q or the path", step.name, err, step.refused[name])
				}
				if got := testutil.ToFloat64(f.valid.WithLabelValues(name)); got != 0 {
					t.Errorf("%s: %s is valid by its metric", step.name, name)
				}
			}
		}
	})
}

// A volume that goes is said once, and no reason to forget anything.
func TestFollowOutlivesItsVolume(t *testing.T) {
	files := &mounted{t: t, dir: t.TempDir()}
	files.write("vantages: 6", endpoint)
	f, now, err := Open(files.path("config.yaml"), files.path("critical-apps.yaml"), asIs)
	if err != nil {
		t.Fatal(err)
	}
	f.Register(prometheus.NewRegistry())
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := watch(ctx, f, now)
		if err := os.Remove(files.path("..data")); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * interval)
		if w.now.Vantages != 6 || w.calls != 1 || len(w.refused) != 2 {
			t.Errorf("without files: vantages %d, %d calls, refused %v", w.now.Vantages, w.calls, w.refused)
		}
		files.write("vantages: 6", endpoint)
		w.pass(3 * interval)
		if w.calls != 2 || len(w.refused) != 0 || testutil.ToFloat64(f.valid.WithLabelValues(TargetsFile)) != 1 {
			t.Errorf("with them again: %d calls, refused %v", w.calls, w.refused)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	files := &mounted{t: t, dir: t.TempDir()}
	files.write("vantages: 0", "control: {window_size: 2}")
	config, targets := files.path("config.yaml"), files.path("critical-apps.yaml")
	for _, tt := range []struct {
		config, targets string
		want            string
	}{
		{config, "", "vantages: 0"},
		{"", targets, "control.window_size"},
		{config + "x", "", "read configuration"},
		{"", targets + "x", "read static-targets"},
	} {
		if _, _, err := Open(tt.config, tt.targets, asIs); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%q, %q): %v, want %q", tt.config, tt.targets, err, tt.want)
		}
	}
	if _, s, err := Open("", "", asIs); err != nil || s.Config != Default() {
		t.Errorf("without files: %+v, %v", s, err)
	}
}
