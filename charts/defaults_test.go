package charts

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// values are those of the chart.
func values(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("detnet/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The templates fill in what is missing from a copy of the values, since they
// can't read those.
func TestDefaultsAreTheValues(t *testing.T) {
	const file = "detnet/files/defaults.yaml"
	body, err := yaml.Marshal(values(t))
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte("# Made of values.yaml by go test ./charts -run TestDefaultsAreTheValues -update.\n"), body...)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not values.yaml (%v): go test ./charts -update", file, err)
	}
}

// openMaps have keys of the user's own, of which null takes one out.
var openMaps = []string{"config", "digests", "files", "labels", "nodeSelector", "podAnnotations", "podSecurityContext", "resources", "shadow"}

func paths(v map[string]any, prefix string) (all []string) {
	for _, key := range slices.Sorted(maps.Keys(v)) {
		all = append(all, prefix+key)
		if below, ok := v[key].(map[string]any); ok && !slices.Contains(openMaps, key) {
			all = append(all, paths(below, prefix+key+".")...)
		}
	}
	return all
}

// null is the default, wherever it is said: of each value and of all of them.
func TestNullIsTheDefault(t *testing.T) {
	render := func(sets ...string) (string, error) {
		args := []string{"template", "detnet", "detnet", "--namespace", namespace}
		for _, set := range sets {
			args = append(args, "--set", set+"=null")
		}
		return helm(t, args...)
	}
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	all := paths(values(t), "")
	if len(all) < 60 {
		t.Fatalf("%d values", len(all))
	}
	var leaves []string
	for _, path := range all {
		if !slices.ContainsFunc(all, func(other string) bool { return strings.HasPrefix(other, path+".") }) {
			leaves = append(leaves, path)
		}
	}
	if got, err := render(leaves...); err != nil || got != want {
		t.Errorf("all null renders differently: %v", err)
	}
	for section := range values(t) {
		if got, err := render(section); err != nil || got != want {
			t.Errorf("%s=null renders differently: %v", section, err)
		}
	}
}

// What an older chart did not know is missing in its values, with which
// helm upgrade --reuse-values renders the new chart; what it had and the new one has not is there.
func TestOlderValues(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("detnet")); err != nil {
		t.Fatal(err)
	}
	want, err := helm(t, "template", "detnet", "detnet", "--namespace", namespace)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("testdata/before.values.yaml") // of the chart that had policy.bundle.fallback
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string][]byte{
		// Without anything that is not a section of its own right.
		"oldest thinkable": []byte("image: {registry: docker.io/detnet}\nwebhook: {replicas: 2}\n"),
		"before":           before,
	} {
		if err := os.WriteFile(dir+"/values.yaml", values, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := helm(t, "template", "detnet", dir, "--namespace", namespace); err != nil || got != want {
			t.Errorf("%s: renders differently: %v", name, err)
		}
	}
}

// Who said none for bundles in an older chart does not get the default set instead.
func TestOlderFallback(t *testing.T) {
	for set, want := range map[string]string{
		"policy.fallback=default":                             "default",
		"policy.fallback=none":                                "none",
		"policy.bundle.fallback=default":                      "default",
		"policy.bundle.fallback=none":                         "none",
		"policy.bundle.fallback=null":                         "default",
		"policy.bundle.fallback=default,policy.fallback=none": "none",
		"policy.bundle.fallback=none,policy.fallback=default": "none",
	} {
		out, err := helm(t, "template", "detnet", "detnet", "--show-only", "templates/webhook/deployment.yaml",
			"--set", "policy.bundle.url=https://policies.example/bundle.tar.gz,policy.bundle.publicKey=key", "--set", set)
		if err != nil || !strings.Contains(out, "--policy-fallback="+want+"\n") {
			t.Errorf("%s: want %s (%v)", set, want, err)
		}
	}
}

// A name that YAML takes for a number or a boolean is still a name.
func TestNamesThatLookLikeOtherThings(t *testing.T) {
	for _, odd := range []string{"123", "true", "1e3", "null"} {
		out, err := helm(t, "template", "detnet", "detnet", "--namespace", odd,
			"--set-json", fmt.Sprintf(`webhook.ignoreNamespaces=[%q]`, odd), "--set-json", fmt.Sprintf(`image.pullSecrets=[%q]`, odd),
			"--set-json", fmt.Sprintf(`guard.trustedGroups=[%q]`, odd), "--set-json", fmt.Sprintf(`agent.nodeSelector={"pool":%q}`, odd))
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(out, "\n---\n") {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatal(err)
			}
			for path, value := range named(object, "") {
				if reflect.TypeOf(value) != reflect.TypeFor[string]() {
					t.Errorf("%v %s: %v is no string", object["kind"], path, value)
				}
			}
		}
	}
}

// named collects what has to be strings: namespaces, names, values of selectors.
func named(v any, path string) map[string]any {
	all := map[string]any{}
	switch v := v.(type) {
	case map[string]any:
		for key, below := range v {
			if key == "namespace" || key == "name" || key == "pool" {
				if _, isMap := below.(map[string]any); !isMap {
					all[path+"."+key] = below
				}
			}
			maps.Copy(all, named(below, path+"."+key))
		}
	case []any:
		for n, below := range v {
			if strings.HasSuffix(path, ".values") {
				all[fmt.Sprintf("%s[%d]", path, n)] = below
			}
			maps.Copy(all, named(below, fmt.Sprintf("%s[%d]", path, n)))
		}
	}
	return all
}
