package live

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/detnet/detnet/policies"
)

// What is kept is the site's files alone, before and after a change: the default ones would lie over
// those of another release.
func TestKeptAreTheSitesFiles(t *testing.T) {
	path, kept := t.TempDir(), t.TempDir()
	dir, start := begin(t, path, kept)
	active := NewActive(start.Engine, time.Now(), prometheus.NewRegistry())
	last := start.last
	for _, site := range []policies.Set{{}, {"site.rego": "package detnet.site\n\nclass := \"high\"\n"}} {
		for name, content := range site {
			write(t, path, name, content)
		}
		unhurried(t, func(t *testing.T) {
			last = followOnce(t.Context(), path, keeping{active, dir}, quiet, func(err error) { t.Errorf("refused for %v", err) }, last)
		})
		raw, err := os.ReadFile(filepath.Join(kept, "files.json"))
		if err != nil {
			t.Fatal(err)
		}
		var got policies.Set
		if err := json.Unmarshal(raw, &got); err != nil || !reflect.DeepEqual(got, site) {
			t.Errorf("kept %s (%v), want %q", raw, err, site)
		}
	}
}

// What writes that were cut short leave behind does not add up, and is no part of what is read.
func TestWriteThatWasCutShort(t *testing.T) {
	k := keeper{t.TempDir(), "kept"}
	for _, left := range []string{"a longer one that was cut sho", ""} {
		write(t, k.dir, filepath.Base(k.unfinished()), left)
		if err := k.write([]byte("whole")); err != nil {
			t.Fatal(err)
		}
		if got, err := k.read(maxKept); err != nil || string(got) != "whole" {
			t.Errorf("read %q, %v", got, err)
		}
		files, err := os.ReadDir(k.dir)
		if err != nil || len(files) != 1 {
			t.Errorf("%v, %v: want one file", files, err)
		}
	}
}

// The chart's volume has room for what is kept and what is about to take its place: a pod with more
// in it is evicted.
func TestKeptFitsTheVolume(t *testing.T) {
	const chart = "../../charts/detnet/templates/webhook/deployment.yaml"
	text, err := os.ReadFile(chart)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`- name: policy-kept\s+emptyDir: {sizeLimit: (\w+)}`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s: no volume policy-kept with a limit", chart)
	}
	room := resource.MustParse(string(found[1]))
	const filesystem = 1 << 20 // its own needs
	if most := int64(2*max(maxKept, maxBundle) + filesystem); most > room.Value() {
		t.Errorf("up to %d bytes are kept, of %s", most, room.String())
	}
	const configMap = 1 << 20 // bytes that the API server takes
	full, err := json.Marshal(policies.Set{"site.rego": strings.Repeat("<", configMap)})
	if err != nil || len(full) > maxKept {
		t.Errorf("a full ConfigMap takes %d bytes of %d (%v)", len(full), maxKept, err)
	}
	k := t.TempDir()
	d := &Dir{path: "policy", last: policies.Set{"site.yaml": strings.Repeat("#", maxKept)}, keeper: keeper{k, "files.json"}}
	if err := d.keep(); err == nil || !strings.Contains(err.Error(), "12 MiB") {
		t.Errorf("keeps more than that: %v", err)
	}
	if files, err := os.ReadDir(k); err != nil || len(files) != 0 {
		t.Errorf("left %v, %v", files, err)
	}
}
