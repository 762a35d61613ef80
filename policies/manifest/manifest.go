// Package manifest reads the pods that a manifest describes: pods themselves
// and the templates of the workloads that make pods, as their controllers would
// create them.
package manifest

import (
	"bufio"
	"errors"
	"fmt"
	"io"

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
}

// templates says where a workload keeps the template of its pods.
var templates = map[string][]string{
	"Pod":                   nil,
	"Deployment":            {"spec", "template"},
	"StatefulSet":           {"spec", "template"},
	"DaemonSet":             {"spec", "template"},
	"ReplicaSet":            {"spec", "template"},
	"ReplicationController": {"spec", "template"},
	"Job":                   {"spec", "template"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template"},
	"PodTemplate":           {"template"},
}

// Read reads YAML or JSON documents. Kinds that make no pods are skipped.
func Read(r io.Reader) (Manifest, error) {
	m := Manifest{Namespaces: map[string]policies.Namespace{}}
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
	kind, _ := o["kind"].(string)
	meta, _ := o["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if kind == "List" {
		items, _ := o["items"].([]any)
		for _, item := range items {
			inner, ok := item.(map[string]any)
			if !ok {
				return errors.New("an item of the List is not an object")
			}
			if err := m.add(inner); err != nil {
				return err
			}
		}
		return nil
	}
	if kind == "Namespace" {
		m.Namespaces[name] = policies.Namespace{Name: name, Labels: texts(meta["labels"]), Annotations: texts(meta["annotations"])}
		return nil
	}
	path, ok := templates[kind]
	if !ok {
		return nil
	}
	namespace, _ := meta["namespace"].(string)
	if namespace == "" {
		namespace = "default"
	}
	pod, err := podOf(o, path, kind, name)
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", kind, namespace, name, err)
	}
	m.Pods = append(m.Pods, Pod{Source: fmt.Sprintf("%s %s/%s", kind, namespace, name), Namespace: namespace, Object: pod})
	return nil
}

// podOf follows path to the template and makes a pod of it.
func podOf(o policies.Object, path []string, kind, name string) (policies.Object, error) {
	at := map[string]any(o)
	for _, field := range path {
		inner, ok := at[field].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("it has no %v", path)
		}
		at = inner
	}
	meta := map[string]any{}
	if given, ok := at["metadata"].(map[string]any); ok {
		for key, value := range given {
			meta[key] = value
		}
	}
	if kind != "Pod" {
		delete(meta, "name")
		meta["generateName"] = name + "-"
	}
	return policies.Object{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": at["spec"]}, nil
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
