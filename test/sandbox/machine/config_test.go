package machine

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/test/sandbox/instance"
)

var update = flag.Bool("update", false, "write the golden files")

func TestRender(t *testing.T) {
	rendered, err := render(&instance.Spec{Name: "a", Nodes: 3, Cache: "/cache"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(rendered) != len(files) {
		t.Errorf("%d files from %d templates", len(rendered), len(files))
	}
	for path, got := range rendered {
		golden := filepath.Join("testdata", strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "_"))
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		wellFormed(t, path, got)
	}
}

func wellFormed(t *testing.T, path, text string) {
	t.Helper()
	var err error
	switch filepath.Ext(path) {
	case ".yaml":
		err = yaml.UnmarshalStrict([]byte(text), &map[string]any{})
	case ".conflist":
		err = json.Unmarshal([]byte(text), &map[string]any{})
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	if strings.Contains(text, "<no value>") || strings.Contains(text, "{{") {
		t.Errorf("%s is not filled in", path)
	}
}

// The sandbox enforces bandwidth with the code under test, never with CNI.
func TestCNIHasNoBandwidthPlugin(t *testing.T) {
	rendered, err := render(&instance.Spec{Name: "a", Nodes: 1, Cache: "/cache"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Plugins []struct{ Type string } }
	if err := json.Unmarshal([]byte(rendered[files["cni.conflist"]]), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Plugins) != 1 || list.Plugins[0].Type != "ptp" {
		t.Errorf("the chain is %+v", list.Plugins)
	}
}
