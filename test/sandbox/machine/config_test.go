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

// Pods get an address of each of the instance's families, and all listen for both.
func TestRenderForBothFamilies(t *testing.T) {
	rendered, err := render(&instance.Spec{Name: "a", Nodes: 3, Cache: "/cache", IPv6First: true}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, want string }{
		{"cni.conflist", `[[{"subnet": "fd77:244:0:2::/64"}], [{"subnet": "10.244.2.0/24"}]]`},
		{"cni.conflist", `[{"dst": "::/0"}, {"dst": "0.0.0.0/0"}]`},
		{"kubelet.yaml", "\naddress: \"::\"\n"},
		{"kube-proxy.yaml", `clusterCIDR: "fd77:244::/48,10.244.0.0/16"`},
	} {
		path := files[tt.file]
		wellFormed(t, path, rendered[path])
		if !strings.Contains(rendered[path], tt.want) {
			t.Errorf("no %s in\n%s", tt.want, rendered[path])
		}
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
