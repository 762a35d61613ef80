package doctor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
)

// apiServer starts a real API server for the test.
func apiServer(t *testing.T) client.Client {
	t.Helper()
	c, err := client.New(apitest.Start(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var install = Install{Namespace: "detnet", Trial: "default"}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: install.Namespace, Name: name}
}

func template(args ...string) (*metav1.LabelSelector, corev1.PodTemplateSpec) {
	labels := map[string]string{"app": "detnet"}
	return &metav1.LabelSelector{MatchLabels: labels}, corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Args: args}}},
	}
}

func deployment(name string) *appsv1.Deployment {
	two := int32(2)
	d := &appsv1.Deployment{ObjectMeta: named(name)}
	d.Spec.Replicas = &two
	d.Spec.Selector, d.Spec.Template = template()
	return d
}

func daemonSet(name string, args ...string) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{ObjectMeta: named(name)}
	d.Spec.Selector, d.Spec.Template = template(args...)
	return d
}

func webhookConfiguration() *admissionv1.MutatingWebhookConfiguration {
	ignore, none := admissionv1.Ignore, admissionv1.SideEffectClassNone
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name:          "pods.detnet.dev",
			ClientConfig:  admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "detnet", Name: "detnet-webhook"}},
			FailurePolicy: &ignore, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
		}},
	}
}

// stamp has the API server itself do what the webhook does.
func stamp() []client.Object {
	return []client.Object{
		&admissionv1.MutatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "stamp"},
			Spec: admissionv1.MutatingAdmissionPolicySpec{
				ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
				MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionv1.RuleWithOperations{
						Operations: []admissionv1.OperationType{admissionv1.Create},
						Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
					},
				}}},
				Mutations: []admissionv1.Mutation{{
					PatchType: admissionv1.PatchTypeApplyConfiguration,
					ApplyConfiguration: &admissionv1.ApplyConfiguration{
						Expression: `Object{metadata: Object.metadata{labels: {"detnet.dev/class": "best-effort"}}}`,
					},
				}},
			},
		},
		&admissionv1.MutatingAdmissionPolicyBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "stamp"},
			Spec:       admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: "stamp"},
		},
	}
}

// steps bring an empty cluster to a healthy install, one cause of a problem
// after the other, in the order of the checks.
func steps(t *testing.T, c client.Client) []struct {
	check, problem string
	cure           func()
} {
	create := func(objects ...client.Object) {
		t.Helper()
		for _, object := range objects {
			if err := c.Create(t.Context(), object); err != nil {
				t.Fatalf("create %T: %v", object, err)
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	webhook, controller, configuration := deployment("detnet-webhook"), deployment("detnet-controller"), webhookConfiguration()
	configured := configuration.Webhooks
	configuration.Webhooks = nil
	available := func(d *appsv1.Deployment, updated, available int32) {
		d.Status = appsv1.DeploymentStatus{
			ObservedGeneration: d.Generation, Replicas: 2, UpdatedReplicas: updated, ReadyReplicas: available, AvailableReplicas: available, UnavailableReplicas: 2 - available,
		}
		must(c.Status().Update(t.Context(), d))
	}
	looping := pod("detnet-controller-new", corev1.ContainerStatus{
		RestartCount: 4, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 2, Message: `{"level":"INFO","msg":"starts"}` + "\n" + `{"level":"ERROR","msg":"detnet-controller failed","err":"laws.adaptive.window: 5h0m0s must be from 20ms to 10s"}` + "\n",
		}},
	})
	probe, node := daemonSet("detnet-agent-probe"), daemonSet("detnet-agent-node")
	lease := &coordinationv1.Lease{ObjectMeta: named("detnet-controller")}
	cilium := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cilium-config"}, Data: map[string]string{"disable-endpoint-crd": "true"}}
	holder := "controller-0"
	renewed := func(age time.Duration) {
		lease.Spec.HolderIdentity, lease.Spec.RenewTime = &holder, &metav1.MicroTime{Time: time.Now().Add(-age)}
		must(c.Update(t.Context(), lease))
	}
	ready := func(d *appsv1.DaemonSet, n int32) {
		d.Status = appsv1.DaemonSetStatus{
			ObservedGeneration: d.Generation, DesiredNumberScheduled: 3, CurrentNumberScheduled: 3, NumberReady: n, UpdatedNumberScheduled: n,
		}
		must(c.Status().Update(t.Context(), d))
	}
	return []struct {
		check, problem string
		cure           func()
	}{
		{"webhook serves", "not found", func() { create(webhook) }},
		{"webhook serves", "has not been taken up", func() { available(webhook, 0, 0) }},
		{"webhook serves", "none of its replicas", func() { available(webhook, 2, 1) }},
		{"webhook serves", "1 of 2 replicas are available", func() { available(webhook, 2, 2) }},
		{"API server trusts the webhook", "not found", func() { create(configuration) }},
		{"API server trusts the webhook", "names no webhook", func() {
			configuration.Webhooks = configured
			must(c.Update(t.Context(), configuration))
		}},
		{"API server trusts the webhook", "pods.detnet.dev has no caBundle", func() {
			configuration.Webhooks[0].ClientConfig.CABundle = []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
			must(c.Update(t.Context(), configuration))
		}},
		{"pods are stamped", "without a class", func() { create(stamp()...) }},
		{"controller runs", "not found", func() {
			create(controller)
			available(controller, 1, 2) // the old replicas serve on
			status := looping.Status
			create(looping)
			looping.Status = status
			must(c.Status().Update(t.Context(), looping))
		}},
		{"controller runs", "2 of 2 replicas are available, 1 of them as last asked for (detnet-controller-new CrashLoopBackOff after 4 restarts, exit code 2: laws.adaptive.window: 5h0m0s must be from 20ms to 10s)", func() {
			available(controller, 2, 2)
			must(c.Delete(t.Context(), looping))
		}},
		{"controller leads", "not found", func() { create(lease) }},
		{"controller leads", "no replica leads", func() { renewed(5 * time.Minute) }},
		{"controller leads", "silent since", func() { renewed(-time.Hour) }}, // for as long as a slow machine takes for the rest
		{"agents run", "not found", func() { create(probe) }},
		{"pods' traffic is measured", "no DaemonSet detnet-agent-node", func() { create(node) }},
		{"pods' traffic is measured", "ready on no node", func() {}},
		{"limits are enforced", "ready on no node", func() {}},
		{"agents run", "detnet-agent-probe is ready on 0 of 0", func() { ready(probe, 2); ready(node, 3) }},
		{"agents run", "detnet-agent-probe is ready on 2 of 3", func() { ready(probe, 3) }},
		{"limits are enforced", "no Cilium", func() { create(cilium) }},
		{"pods' traffic is measured", "neither CiliumEndpoints nor a route", func() {
			cilium.Data["enable-endpoint-routes"] = "true"
			must(c.Update(t.Context(), cilium))
		}},
		{"limits are enforced", "bandwidth manager is off", func() {
			cilium.Data["enable-bandwidth-manager"] = "true"
			must(c.Update(t.Context(), cilium))
		}},
		{"limits are enforced", "not attached", func() {
			cilium.Data["kube-proxy-replacement"] = "true"
			must(c.Update(t.Context(), cilium))
		}},
		{"network policies are taken", "is not there", func() { create(policyCRD(t, false)) }},
	}
}

func TestExamineFindsEachCause(t *testing.T) {
	c := apiServer(t)
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: install.Namespace}}); err != nil {
		t.Fatal(err)
	}
	trialReady(t, c)
	for _, step := range steps(t, c) {
		f := finding(t, Examine(t.Context(), c, install), step.check)
		if !strings.Contains(f.Problem, step.problem) || f.Advice == "" {
			t.Errorf("%s: %+v, want a problem with %q and advice", step.check, f, step.problem)
		}
		step.cure()
	}
	await.Success(t, "a healthy install has no problem", func() error { // the API server compiles the stamping policy a moment after it is there
		for _, f := range Examine(t.Context(), c, install) {
			if f.Problem != "" {
				return fmt.Errorf("%+v", f)
			}
		}
		return nil
	})
}

// trialReady waits for the service account that pods of the namespace need.
func trialReady(t *testing.T, c client.Client) {
	t.Helper()
	if err := c.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: install.Trial, Name: "default"}}); err != nil {
		t.Fatal(err)
	}
}

func TestEnforcementByTheAgents(t *testing.T) {
	c := apiServer(t)
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: install.Namespace}}); err != nil {
		t.Fatal(err)
	}
	agent := daemonSet("detnet-agent-node", "--role=node", "--enforce=tc")
	if err := c.Create(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	agent.Status.NumberReady = 1
	if err := c.Status().Update(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	if f := finding(t, Examine(t.Context(), c, install), "limits are enforced"); f.Problem != "" {
		t.Errorf("%+v", f)
	}
}

func pod(name string, container corev1.ContainerStatus) *corev1.Pod {
	_, template := template()
	container.Name = "c"
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: install.Namespace, Name: name, Labels: template.Labels},
		Spec:       template.Spec,
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{container}},
	}
}

// A quota or somebody else's policy in the namespace of the trial is no fault of
// detnet's: quotas that want limits are met, and refusals named for what they are.
func TestTrialNamespaceRefuses(t *testing.T) {
	c := apiServer(t)
	trialReady(t, c)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: install.Trial, Name: "limits"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse("1")}},
	}
	if err := c.Create(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse("0")}}
	if err := c.Status().Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	until := func(what string, is func(Finding) bool) { // admission learns of a quota and its status by watching
		t.Helper()
		await.Success(t, what, func() error {
			if f := finding(t, Examine(t.Context(), c, install), "pods are stamped"); !is(f) {
				return fmt.Errorf("%+v", f)
			}
			return nil
		})
	}
	until("under a quota of limits the pod is made, and unstamped", func(f Finding) bool { return strings.Contains(f.Problem, "without a class") })
	quota.Status.Used = quota.Spec.Hard
	if err := c.Status().Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	until("under an exhausted quota", func(f Finding) bool {
		return strings.Contains(f.Problem, "can't be created in namespace default") && strings.Contains(f.Problem, "exceeded quota") && strings.Contains(f.Advice, "--trial-namespace")
	})
}

func finding(t *testing.T, findings []Finding, check string) Finding {
	t.Helper()
	for _, f := range findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no finding for %q", check)
	return Finding{}
}

// What a program said last is told, be it of its log or before it had one; of who said nothing, nothing.
func TestLastWords(t *testing.T) {
	for log, want := range map[string]string{
		"":                                 "",
		"{\"msg\":\"starts\"}\n":           "",
		"a\n{\"msg\":\"f\",\"err\":\"e\"}": ": e",
		"x: flag provided but not defined: -y (-h lists the flags)\n": ": x: flag provided but not defined: -y (-h lists the flags)",
	} {
		if got := lastWords(log); got != want {
			t.Errorf("%q: %q, want %q", log, got, want)
		}
	}
}
