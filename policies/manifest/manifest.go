// Package manifest reads the pods that a manifest describes: pods themselves
// and the templates of the workloads that make pods, as their controllers would
// create them.
package manifest

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/detnet/detnet/policies"
)

// Pod is a pod that a manifest describes.
type Pod struct {
	Source    string // such as "Deployment shop/telemetry"
	Namespace string // "default" where the manifest has none
	Object    policies.Object
}

// Manifest is what a stream of documents holds.
type Manifest struct {
	Pods []Pod
	// Namespaces are those the stream describes, by name.
	Namespaces map[string]policies.Namespace
	// Skipped counts the objects whose kind is not known, by Kind.group: whether
	// they make pods, and which, is not known either.
	Skipped map[string]int
}

// Read reads YAML or JSON documents. Kinds of Kubernetes that make no pods are
// left out, other kinds that are not known are counted in Skipped.
func Read(r io.Reader) (Manifest, error) {
	m := Manifest{Namespaces: map[string]policies.Namespace{}, Skipped: map[string]int{}}
	reader := yaml.NewYAMLReader(bufio.NewReader(r))
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return m, fmt.Errorf("read document %d: %w", n, err)
		}
		raw, err := sigsyaml.YAMLToJSON(doc)
		if err != nil {
			return m, fmt.Errorf("document %d: %w", n, err)
		}
		if string(raw) == "null" {
			continue
		}
		object, err := policies.ReadObject(raw)
		if err != nil {
			return m, fmt.Errorf("document %d: %w", n, err)
		}
		if err := m.add(object); err != nil {
			return m, fmt.Errorf("document %d: %w", n, err)
		}
	}
}

func (m *Manifest) add(o policies.Object) error {
	this, known := kindOf(o)
	meta, _ := o["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if items, ok := o["items"].([]any); ok && strings.HasSuffix(this.name, "List") {
		return m.addItems(o, items)
	}
	if this.name == "Namespace" && this.group == "" {
		if err := textOnly(meta); err != nil {
			return fmt.Errorf("Namespace %s: %w", name, err) //nolint:staticcheck // the kind, as it is spelt
		}
		m.Namespaces[name] = policies.Namespace{Name: name, Labels: texts(meta["labels"]), Annotations: texts(meta["annotations"])}
		return nil
	}
	if !known {
		if !this.podless() {
			m.Skipped[this.String()]++
		}
		return nil
	}
	namespace, _ := meta["namespace"].(string)
	if namespace == "" {
		namespace = "default"
	}
	generated, _ := meta["generateName"].(string)
	source := fmt.Sprintf("%s %s/%s", this.name, namespace, cmp.Or(name, generated))
	templates, err := at(o, this.path)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	for _, template := range templates {
		pod, err := podOf(template, this.name, name)
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		m.Pods = append(m.Pods, Pod{Source: source, Namespace: namespace, Object: pod})
	}
	return nil
}

// addItems adds the items of a List or of a list of one kind, whose items may
// leave their own out.
func (m *Manifest) addItems(list policies.Object, items []any) error {
	of, _ := list["kind"].(string)
	for _, item := range items {
		inner, ok := item.(map[string]any)
		if !ok {
			return fmt.Errorf("an item of the %s is not an object", of)
		}
		if inner["kind"] == nil && of != "List" {
			inner["kind"], inner["apiVersion"] = strings.TrimSuffix(of, "List"), list["apiVersion"]
		}
		if err := m.add(inner); err != nil {
			return err
		}
	}
	return nil
}

// podOf makes a pod of a template.
func podOf(template map[string]any, kind, name string) (policies.Object, error) {
	meta := map[string]any{}
	if given, ok := template["metadata"].(map[string]any); ok {
		for key, value := range given {
			meta[key] = value
		}
	}
	if err := textOnly(meta); err != nil {
		return nil, err
	}
	if kind != "Pod" {
		delete(meta, "name")
		meta["generateName"] = name + "-"
	}
	return policies.Object{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}, nil
}

func texts(v any) map[string]string {
	fields, _ := v.(map[string]any)
	out := map[string]string{}
	for key, value := range fields {
		if s, ok := value.(string); ok {
			out[key] = s
		}
	}
	return out
}
