package targets

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/detnet/detnet/controller/config"
)

var update = flag.Bool("update", false, "write the golden file")

func TestImport(t *testing.T) {
	targets, err := Parse([]byte(sample(t) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	targets.Apps = append(targets.Apps, App{Name: "plc", Host: "192.0.2.7", Probe: targets.Apps[0].Probe, SLO: targets.Apps[0].SLO})
	var out bytes.Buffer
	if err := errors.Join(WriteValues(&out, targets), WriteWorkloads(&out, targets)); err != nil {
		t.Fatal(err)
	}
	const path = "testdata/import.golden.yaml"
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(want, out.Bytes()) {
		t.Errorf("%s differs (%v), got:\n%s", path, err, out.String())
	}
}

// What is imported is a configuration that the controller accepts, and the one
// that it would have had by reading the file as it is.
func TestImportedValuesAreTheSameLaws(t *testing.T) {
	targets, err := Parse([]byte(sample(t)))
	if err != nil {
		t.Fatal(err)
	}
	controller := values(targets)["controller"].(map[string]any)
	text, err := yaml.Marshal(controller["config"])
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(text, config.Default())
	if err != nil {
		t.Fatal(err)
	}
	if want := targets.Control.Over(config.Default().Laws); got.Laws != want {
		t.Errorf("got  %+v\nwant %+v", got.Laws, want)
	}
	if !strings.Contains(string(text), "aimd") {
		t.Error("no constants in the values")
	}
}
