package law

import (
	"os/exec"
	"strings"
	"testing"
)

// A law is pure: it may know the vocabulary and the units, and nothing that
// could read a clock of its own, log or reach the network.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatalf("list dependencies: %v", err)
	}
	allowed := map[string]bool{
		"github.com/detnet/detnet/controller/law":   true,
		"github.com/detnet/detnet/controller/sense": true,
		"github.com/detnet/detnet/quantile":         true,
		"github.com/detnet/detnet/controller/plan":  true,
		"github.com/detnet/detnet/bitrate":          true,
		"github.com/detnet/detnet/workload":         true,
	}
	// Limits and names are read as Kubernetes reads them.
	quantity, err := exec.Command("go", "list", "-deps", "k8s.io/apimachinery/pkg/api/resource", "k8s.io/apimachinery/pkg/util/validation").Output()
	if err != nil {
		t.Fatalf("list dependencies: %v", err)
	}
	for path := range strings.FieldsSeq(string(quantity)) {
		allowed[path] = true
	}
	for path := range strings.FieldsSeq(string(out)) {
		if !allowed[path] && !strings.HasPrefix(path, "github.com/detnet/detnet/controller/law/") {
			t.Errorf("depends on %s", path)
		}
	}
	direct, err := exec.Command("go", "list", "-f", "{{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatalf("list imports: %v", err)
	}
	for path := range strings.FieldsSeq(string(direct)) {
		switch path {
		case "log", "log/slog", "os", "net", "context", "sync", "math/rand", "math/rand/v2":
			t.Errorf("imports %s", path)
		}
	}
}

func TestNew(t *testing.T) {
	for _, name := range Names() {
		l, err := New(name, DefaultConfig())
		if err != nil || l.Name() != name {
			t.Errorf("New(%q) = %v, %v", name, l, err)
		}
	}
	if _, err := New("pid", DefaultConfig()); err == nil || !strings.Contains(err.Error(), "adaptive, aimd, step") {
		t.Errorf("unknown law: %v", err)
	}
	bad := DefaultConfig()
	bad.Adaptive.Budget.MaxCut = 2
	if _, err := New(Adaptive, bad); err == nil || !strings.Contains(err.Error(), "adaptive.maxCut: 2 must be from 0.05 to 0.9") {
		t.Errorf("bad configuration: %v", err)
	}
}

// Laws can be compared, as the loop does at each change of the inventory: with
// equal constants they are equal.
func TestLawsAreCompared(t *testing.T) {
	other := DefaultConfig()
	other.Adaptive.Sense.Soft = 0.4
	for _, name := range Names() {
		a, errA := New(name, DefaultConfig())
		b, errB := New(name, DefaultConfig())
		c, errC := New(name, other)
		if errA != nil || errB != nil || errC != nil {
			t.Fatal(errA, errB, errC)
		}
		if a != b || a == c {
			t.Errorf("%s: equal to the same %v, to another %v", name, a == b, a == c)
		}
	}
}
