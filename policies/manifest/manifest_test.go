package manifest

import (
	"strings"
	"testing"
)

const several = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {detnet.dev/priority: best-effort}}
---
# nothing but a comment
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c}]}}}}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {containers: []}}
- {apiVersion: v1, kind: Service, metadata: {name: one}}
`

func TestRead(t *testing.T) {
	m, err := Read(strings.NewReader(several))
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, p := range m.Pods {
		sources = append(sources, p.Source)
	}
	if got := strings.Join(sources, ", "); got != "Deployment shop/web, CronJob default/nightly, Pod default/one" {
		t.Errorf("pods: %s", got)
	}
	if m.Namespaces["shop"].Labels["detnet.dev/priority"] != "best-effort" {
		t.Errorf("namespaces: %v", m.Namespaces)
	}
	meta, _ := m.Pods[0].Object["metadata"].(map[string]any)
	if meta["generateName"] != "web-" || meta["name"] != nil {
		t.Errorf("metadata: %v", meta)
	}
}

func TestReadErrorsNameTheDocument(t *testing.T) {
	for _, bad := range []string{"a: [", "- 1", "kind: Deployment\nmetadata: {name: x}\n"} {
		if _, err := Read(strings.NewReader("kind: Service\n---\n" + bad)); err == nil || !strings.Contains(err.Error(), "document 2") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(several)
	f.Fuzz(func(_ *testing.T, text string) { _, _ = Read(strings.NewReader(text)) })
}
