package targets

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"testing"
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
