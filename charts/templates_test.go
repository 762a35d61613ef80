package charts

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/policies/manifest"
	"github.com/detnet/detnet/webhook"
)

// The API server warns of the keys and classes that the Go check knows.
func TestTemplatesPolicyIsTheWebhooks(t *testing.T) {
	raw, err := os.ReadFile("../policies/default/classes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Classes map[string]any `json:"classes"`
	}
	if err := yaml.Unmarshal(raw, &policy); err != nil {
		t.Fatal(err)
	}
	var classes []string
	for name := range policy.Classes {
		classes = append(classes, name)
	}
	body, err := yaml.Marshal(webhook.TemplatesPolicy(classes))
	if err != nil {
		t.Fatal(err)
	}
	const file = "detnet/files/templates-policy.yaml"
	want := append([]byte("# Made of package webhook by go test ./charts -run TestTemplatesPolicyIsTheWebhooks -update.\n"), body...)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what package webhook says (%v): go test ./charts -update", file, err)
	}
}

// heard collects the API server's warnings.
type heard struct {
	mu   sync.Mutex
	text []string
}

func (h *heard) HandleWarningHeader(_ int, _, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, text)
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.text
	h.text = nil
	return out
}

func template(labels, annotations map[string]string) corev1.PodTemplateSpec {
	all := map[string]string{"app": "x"}
	for k, v := range labels {
		all[k] = v
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: all, Annotations: annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

// jobSets has the API server know JobSets, as far as it matters here.
func jobSets(t *testing.T, cfg *rest.Config) {
	t.Helper()
	any := true
	apitest.Install(t, cfg, &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "jobsets.jobset.x-k8s.io"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "jobset.x-k8s.io", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: "JobSet", ListKind: "JobSetList", Plural: "jobsets", Singular: "jobset"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1alpha2", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &any}},
			}},
		},
	})
}

func plain(t *testing.T, p corev1.PodTemplateSpec) map[string]any {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&p)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// The kinds of which the API server warns are those that policy eval knows.
func TestTemplatesOfEveryKind(t *testing.T) {
	var door []string
	for _, r := range webhook.TemplatesPolicy(nil).MatchConstraints.ResourceRules {
		for _, resource := range r.Resources {
			door = append(door, strings.TrimSuffix(resource+"."+r.APIGroups[0], "."))
		}
	}
	var eval []string
	for _, kind := range manifest.Kinds() {
		name, group, _ := strings.Cut(kind, ".")
		if name != "Pod" && name != "Revision" { // which people don't write
			eval = append(eval, strings.TrimSuffix(strings.ToLower(name)+"s."+group, "."))
		}
	}
	slices.Sort(door)
	slices.Sort(eval)
	if !slices.Equal(door, eval) {
		t.Errorf("warned of at the door: %v\nknown to policy eval:  %v", door, eval)
	}
}

// Who writes a template hears what detnet ignores in it, whatever the kind, once,
// and nobody hears anything of a good one.
func TestTemplatesAreReadAtTheDoor(t *testing.T) {
	i := newInstallation(t)
	site := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(site, []byte(`policy: {files: {site.yaml: "classes: {gold: {rank: 60}}", site.rego: "package detnet.site # detnet.dev/team"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	i.helm("install", "detnet", "detnet", "--values", site)
	said := &heard{}
	cfg := rest.CopyConfig(i.cfg)
	cfg.WarningHandler = said
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{GenerateName: "w-", Namespace: "default"}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}
	kinds := map[string]func(corev1.PodTemplateSpec) client.Object{
		"Deployment": func(p corev1.PodTemplateSpec) client.Object {
			return &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: p}}
		},
		"StatefulSet": func(p corev1.PodTemplateSpec) client.Object {
			return &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: p}}
		},
		"DaemonSet": func(p corev1.PodTemplateSpec) client.Object {
			return &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: p}}
		},
		"Job": func(p corev1.PodTemplateSpec) client.Object {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			return &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: p}}
		},
		"CronJob": func(p corev1.PodTemplateSpec) client.Object {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			return &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: p}}}}
		},
		"ReplicationController": func(p corev1.PodTemplateSpec) client.Object {
			return &corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Template: &p}}
		},
	}
	jobSets(t, i.cfg)
	of := func(apiVersion, kind string, fields map[string]any) client.Object {
		fields["apiVersion"], fields["kind"], fields["metadata"] = apiVersion, kind, map[string]any{"generateName": "w-", "namespace": "default"}
		return &unstructured.Unstructured{Object: fields}
	}
	kinds["PodTemplate"] = func(p corev1.PodTemplateSpec) client.Object {
		return of("v1", "PodTemplate", map[string]any{"template": plain(t, p)})
	}
	kinds["JobSet"] = func(p corev1.PodTemplateSpec) client.Object {
		job := func(p corev1.PodTemplateSpec) map[string]any {
			return map[string]any{"name": "j", "template": map[string]any{"spec": map[string]any{"template": plain(t, p)}}}
		}
		return of("jobset.x-k8s.io/v1alpha2", "JobSet", map[string]any{
			"spec": map[string]any{"replicatedJobs": []any{job(template(nil, nil)), job(p)}},
		})
	}
	await.Until(t, "the policy is in force", func() bool {
		if err := c.Create(t.Context(), kinds["Deployment"](template(map[string]string{"detnet.dev/x": "y"}, nil))); err != nil {
			t.Fatal(err)
		}
		return len(said.take()) > 0
	})
	for name, tt := range map[string]struct {
		labels, annotations map[string]string
		want                []string
	}{
		"good":                 {map[string]string{"detnet.dev/priority": "critical", "other.dev/x": "y"}, map[string]string{"detnet.dev/max-jitter": "1ms"}, nil},
		"nothing of detnet's":  {nil, nil, nil},
		"opted out":            {map[string]string{"detnet.dev/priority": "none"}, nil, nil},
		"a class of the site":  {map[string]string{"detnet.dev/priority": "gold"}, nil, nil},
		"a key of the site":    {nil, map[string]string{"detnet.dev/team": "a"}, nil},
		"no class":             {map[string]string{"detnet.dev/priority": "critcal"}, nil, []string{"label detnet.dev/priority=critcal of the pods: known classes are none, best-effort, critical, high, standard, gold"}},
		"a key misspelt":       {nil, map[string]string{"detnet.dev/max-latncy": "1ms"}, []string{"annotation detnet.dev/max-latncy, which it does not know (it knows detnet.dev/min-bandwidth, detnet.dev/max-bandwidth, detnet.dev/max-jitter, detnet.dev/max-latency, detnet.dev/max-loss)"}},
		"a key misplaced":      {map[string]string{"detnet.dev/weight": "2"}, map[string]string{"detnet.dev/priority": "high"}, []string{"label detnet.dev/weight, which is an annotation", "annotation detnet.dev/priority, which is a label"}},
		"a key like no other":  {map[string]string{"detnet.dev/z": "2"}, nil, []string{"label detnet.dev/z, which it does not know"}},
		"both label and class": {map[string]string{"detnet.dev/priorty": "high", "detnet.dev/priority": "hihg"}, nil, []string{"label detnet.dev/priorty", "priority=hihg"}},
	} {
		for kind, of := range kinds {
			if err := c.Create(t.Context(), of(template(tt.labels, tt.annotations))); err != nil {
				t.Fatalf("%s, %s: %v", kind, name, err)
			}
			got := said.take()
			all := strings.Join(got, "\n")
			if len(got) != len(tt.want) || slices.ContainsFunc(tt.want, func(w string) bool { return !strings.Contains(all, w) }) {
				t.Errorf("%s, %s: %q, want %q", kind, name, got, tt.want)
			}
		}
	}
	// Who changes something else is not told again.
	d := kinds["Deployment"](template(map[string]string{"detnet.dev/z": "2"}, nil)).(*appsv1.Deployment)
	if err := c.Create(t.Context(), d); err != nil || len(said.take()) != 1 {
		t.Fatal(err)
	}
	d.Annotations = map[string]string{"a": "b"}
	if err := c.Update(t.Context(), d); err != nil || len(said.take()) != 0 {
		t.Errorf("told of a change outside the template: %v", err)
	}
	d.Spec.Template.Annotations = map[string]string{"a": "b"}
	if err := c.Update(t.Context(), d); err != nil || len(said.take()) != 1 {
		t.Errorf("not told of a change of the template: %v", err)
	}
	owned := kinds["Job"](template(map[string]string{"detnet.dev/z": "2"}, nil)).(*batchv1.Job)
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: "x", UID: "u"}}
	if err := c.Create(t.Context(), owned); err != nil || len(said.take()) != 0 {
		t.Errorf("a controller is told: %v", err)
	}
	i.helm("upgrade", "detnet", "detnet", "--set", "webhook.warnTemplates=false")
	await.Until(t, "switched off", func() bool {
		if err := c.Create(t.Context(), kinds["Deployment"](template(map[string]string{"detnet.dev/x": "y"}, nil))); err != nil {
			t.Fatal(err)
		}
		return len(said.take()) == 0
	})
}
