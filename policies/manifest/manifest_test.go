package manifest

import (
	"slices"
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

// Workloads of others have templates too; of the rest it is said that nothing is
// known.
func TestKindsOfOthers(t *testing.T) {
	m, err := Read(strings.NewReader(`
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: a, namespace: shop}
spec: {template: {metadata: {labels: {x: rollout}}, spec: {}}}
---
apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: b, namespace: shop}
spec: {template: {metadata: {labels: {x: dc}}, spec: {}}}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: c, namespace: shop}
spec: {template: {metadata: {labels: {x: knative}}, spec: {}}}
---
apiVersion: v1
kind: Service
metadata: {name: c, namespace: shop}
---
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {name: d, namespace: shop}
spec:
  replicatedJobs:
  - {name: w, template: {spec: {template: {metadata: {labels: {x: leader}}, spec: {}}}}}
  - {name: v, template: {spec: {template: {metadata: {labels: {x: worker}}, spec: {}}}}}
---
apiVersion: apps/v1
kind: DeploymentList
items:
- metadata: {name: e, namespace: shop}
  spec: {template: {metadata: {labels: {x: listed}}, spec: {}}}
---
apiVersion: v1
kind: Pod
metadata: {generateName: batch-, namespace: shop, labels: {x: generated}}
spec: {}
---
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: t}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: t}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: t}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range m.Pods {
		meta := p.Object["metadata"].(map[string]any)
		got = append(got, p.Source+" "+meta["labels"].(map[string]any)["x"].(string))
	}
	want := []string{
		"Rollout shop/a rollout", "DeploymentConfig shop/b dc", "Service shop/c knative", "JobSet shop/d leader",
		"JobSet shop/d worker", "Deployment shop/e listed", "Pod shop/batch- generated",
	}
	if !slices.Equal(got, want) {
		t.Errorf("pods %q, want %q", got, want)
	}
	if len(m.Skipped) != 2 || m.Skipped["TaskRun.tekton.dev"] != 1 || m.Skipped["PodMonitor.monitoring.coreos.com"] != 1 {
		t.Errorf("skipped %v", m.Skipped)
	}
}

func TestUnquotedValuesAreTold(t *testing.T) {
	for doc, says := range map[string]string{
		"kind: Pod\nmetadata: {name: p, labels: {detnet.dev/priority: true}}":                `Pod default/p: metadata.labels: detnet.dev/priority is the boolean true; it must be text: write "true" in quotes`,
		"kind: Pod\nmetadata: {name: p, annotations: {detnet.dev/weight: 2}}":                `detnet.dev/weight is the number 2; it must be text: write "2" in quotes`,
		"kind: Pod\nmetadata: {name: p, labels: {a: null}}":                                  `a is no text but null`,
		"kind: Pod\nmetadata: {name: p, annotations: {a: {b: c}}}":                           `a holds other values`,
		"kind: Namespace\nmetadata: {name: shop, labels: {detnet.dev/allow-critical: true}}": `Namespace shop: metadata.labels: detnet.dev/allow-critical is the boolean true`,
	} {
		if _, err := Read(strings.NewReader(doc)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", doc, err, says)
		}
	}
}
