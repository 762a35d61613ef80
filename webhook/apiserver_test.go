package webhook_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/workload"
)

// namespace makes a namespace that trusts its critical pods.
func (c *testCluster) namespace(t testing.TB, labels ...string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-", Labels: map[string]string{"detnet.dev/allow-critical": "true"}}}
	for i := 0; i+1 < len(labels); i += 2 {
		ns.Labels[labels[i]] = labels[i+1]
	}
	if err := c.client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

func newPod(namespace string, labels, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "p-", Labels: labels, Annotations: annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func (c *testCluster) create(t *testing.T, pod *corev1.Pod, opts ...client.CreateOption) []string {
	t.Helper()
	c.warnings.take()
	if err := c.client.Create(t.Context(), pod, opts...); err != nil {
		t.Fatalf("create pod: %v", err)
	}
	return c.warnings.take()
}

var policyList = schema.GroupVersionKind{Group: "cilium.io", Version: "v2", Kind: "CiliumNetworkPolicyList"}

func (c *testCluster) networkPolicies(t *testing.T, namespace string) []unstructured.Unstructured {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(policyList)
	if err := c.client.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// listening declares a port of the pod's container.
func listening(pod *corev1.Pod, port int32, protocol corev1.Protocol) *corev1.Pod {
	pod.Spec.Containers[0].Ports = append(pod.Spec.Containers[0].Ports, corev1.ContainerPort{ContainerPort: port, Protocol: protocol})
	return pod
}

// verify checks the signature and takes it off, for comparisons of the rest.
func verify(t *testing.T, namespace string, pod *corev1.Pod) {
	t.Helper()
	if err := stampKeys().Verify(namespace, pod.Labels, pod.Annotations); err != nil {
		t.Errorf("signature %q: %v", pod.Annotations[workload.AnnotationSignature], err)
	}
	delete(pod.Annotations, workload.AnnotationSignature)
}

func critical() map[string]string {
	return map[string]string{workload.LabelPriority: "critical", "app": "robot-control"}
}

func bestEffort() map[string]string {
	return map[string]string{workload.LabelPriority: "best-effort", "app": "telemetry-upload"}
}

func TestStampCritical(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	pod := listening(newPod(ns, critical(), map[string]string{workload.AnnotationProbe: "udp:5201", workload.AnnotationMaxJitter: "1000us"}), 5201, corev1.ProtocolUDP)
	if w := c.create(t, pod); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
	if pod.Labels[workload.LabelClass] != "critical" || pod.Spec.PriorityClassName != "detnet-critical" || *pod.Spec.Priority != 1_000_000 {
		t.Errorf("class %q, priority class %q, priority %d", pod.Labels[workload.LabelClass], pod.Spec.PriorityClassName, *pod.Spec.Priority)
	}
	decision := pod.Annotations[workload.AnnotationDecision]
	verify(t, ns, pod)
	delete(pod.Annotations, workload.AnnotationDecision)
	if diff := cmp.Diff(map[string]string{
		workload.AnnotationProbe: "udp:5201", workload.AnnotationMaxJitter: "1ms", workload.AnnotationRank: "100", workload.AnnotationCiliumPriority: "guaranteed",
	}, pod.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(decision, "class.pod-label@") {
		t.Errorf("decision %q", decision)
	}
}

func TestStampBestEffort(t *testing.T) {
	c := needCluster(t)
	pod := newPod(c.namespace(t), bestEffort(), nil)
	c.create(t, pod)
	verify(t, pod.Namespace, pod)
	if *pod.Spec.Priority != -100 || *pod.Spec.PreemptionPolicy != corev1.PreemptNever {
		t.Errorf("priority %d, preemption %s", *pod.Spec.Priority, *pod.Spec.PreemptionPolicy)
	}
	delete(pod.Annotations, workload.AnnotationDecision)
	if diff := cmp.Diff(map[string]string{
		workload.AnnotationEgressBandwidth: "100M", workload.AnnotationInitialBandwidth: "100M", workload.AnnotationMinBandwidth: "10M", workload.AnnotationMaxBandwidth: "1G",
		workload.AnnotationWeight: "1", workload.AnnotationRank: "10", workload.AnnotationCiliumPriority: "besteffort",
	}, pod.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if terms := pod.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution; len(terms) != 1 {
		t.Errorf("affinity: %v", pod.Spec.Affinity)
	}
}

// The Priority plugin fills in the globalDefault class before the webhook runs
// and refuses a pod whose fields disagree after it.
func TestStampWithGlobalDefault(t *testing.T) {
	c := needCluster(t)
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "everybody"}, Value: 5, GlobalDefault: true}
	if err := c.client.Create(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	ns := c.namespace(t)
	defer func() {
		_ = c.client.Delete(t.Context(), class)
		eventually(t, func() bool {
			plain := newPod(ns, nil, nil)
			c.create(t, plain)
			return *plain.Spec.Priority == 0
		})
	}()
	eventually(t, func() bool { // the webhook and the API server learn of the class on their own
		pod := newPod(ns, bestEffort(), nil)
		pod.Name = ""
		c.create(t, pod)
		plain := newPod(ns, nil, nil)
		c.create(t, plain)
		return *plain.Spec.Priority == 5 && pod.Spec.PriorityClassName == "detnet-best-effort" && *pod.Spec.Priority == -100
	})
}

func TestUsersOwnPriorityClassStays(t *testing.T) {
	c := needCluster(t)
	pod := newPod(c.namespace(t), bestEffort(), nil)
	pod.Spec.PriorityClassName = "of-the-user"
	w := c.create(t, pod)
	if *pod.Spec.Priority != 7 || len(w) != 1 || !strings.Contains(w[0], "of-the-user") {
		t.Errorf("priority %d, warnings %q", *pod.Spec.Priority, w)
	}
}

func TestMissingPriorityClassWarns(t *testing.T) {
	c := needCluster(t)
	pod := newPod(c.namespace(t), map[string]string{workload.LabelPriority: "high"}, nil)
	w := c.create(t, pod)
	if pod.Labels[workload.LabelClass] != "high" || len(w) != 1 || !strings.Contains(w[0], "detnet-high") {
		t.Errorf("class %q, warnings %q", pod.Labels[workload.LabelClass], w)
	}
}

func TestUnlabelledIsLeftAlone(t *testing.T) {
	c := needCluster(t)
	pod := newPod(c.namespace(t), nil, nil)
	if w := c.create(t, pod); len(w) > 0 || pod.Labels != nil || pod.Annotations != nil {
		t.Errorf("labels %v, annotations %v, warnings %q", pod.Labels, pod.Annotations, w)
	}
}

func TestClassLabelOfATenantCountsForNothing(t *testing.T) {
	c := needCluster(t)
	pod := newPod(c.namespace(t), map[string]string{workload.LabelClass: "critical"}, map[string]string{workload.AnnotationInitialBandwidth: "1G"})
	c.create(t, pod)
	if len(pod.Labels) != 0 || len(pod.Annotations) != 0 {
		t.Errorf("labels %v, annotations %v", pod.Labels, pod.Annotations)
	}
}

func TestUntrustedCriticalIsDowngraded(t *testing.T) {
	c := needCluster(t)
	pod := newPod(c.namespace(t, "detnet.dev/allow-critical", "false"), critical(), nil)
	w := c.create(t, pod)
	if pod.Labels[workload.LabelClass] != "standard" || pod.Spec.PriorityClassName != "" || len(w) != 1 {
		t.Errorf("class %q, priority class %q, warnings %q", pod.Labels[workload.LabelClass], pod.Spec.PriorityClassName, w)
	}
}

func TestBadAnnotationsAdmitWithWarnings(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	pod := newPod(ns, bestEffort(), map[string]string{workload.AnnotationEgressBandwidth: "10Mbit", workload.AnnotationMinBandwidth: "0"})
	w := c.create(t, pod)
	if len(w) != 2 || pod.Annotations[workload.AnnotationEgressBandwidth] != "100M" || pod.Annotations[workload.AnnotationMinBandwidth] != "10M" {
		t.Errorf("annotations %v, warnings %q", pod.Annotations, w)
	}
	pod = newPod(ns, critical(), map[string]string{workload.AnnotationMaxJitter: "fast", workload.AnnotationEgressBandwidth: "10M"})
	w = c.create(t, pod)
	if _, limited := pod.Annotations[workload.AnnotationEgressBandwidth]; limited || len(w) != 2 || pod.Annotations[workload.AnnotationMaxJitter] != "1ms" {
		t.Errorf("annotations %v, warnings %q", pod.Annotations, w)
	}
}

func TestHostNetworkAndWindowsGetNoBandwidth(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	host := newPod(ns, bestEffort(), nil)
	host.Spec.HostNetwork = true
	windows := newPod(ns, bestEffort(), nil)
	windows.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
	for name, pod := range map[string]*corev1.Pod{"host network": host, "windows": windows} {
		w := c.create(t, pod)
		for key := range pod.Annotations {
			if strings.Contains(key, "bandwidth") {
				t.Errorf("%s: annotation %s", name, key)
			}
		}
		if len(w) != 1 || pod.Labels[workload.LabelClass] != "best-effort" {
			t.Errorf("%s: class %q, warnings %q", name, pod.Labels[workload.LabelClass], w)
		}
	}
}

func TestStaticMirrorPodIsLeftAlone(t *testing.T) {
	c := needCluster(t)
	pod := newPod(c.namespace(t), bestEffort(), map[string]string{corev1.MirrorPodAnnotationKey: "h"})
	pod.Spec.NodeName = "n"
	c.create(t, pod)
	if len(pod.Annotations) != 1 || pod.Labels[workload.LabelClass] != "" {
		t.Errorf("labels %v, annotations %v", pod.Labels, pod.Annotations)
	}
}

// Nothing comes of a review but the answer: the policies that were decided are
// the controller's to make.
func TestReviewsMakeNoNetworkPolicies(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	c.create(t, newPod(ns, critical(), map[string]string{workload.AnnotationProbe: "udp:5201"}))
	if got := c.networkPolicies(t, ns); len(got) != 0 {
		t.Errorf("there are %d", len(got))
	}
}

// What the webhook stamped, sent again, must come back as it is.
func TestStampIsIdempotent(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	for _, pod := range []*corev1.Pod{
		newPod(ns, critical(), map[string]string{workload.AnnotationProbe: "udp:5201"}),
		listening(newPod(ns, critical(), map[string]string{workload.AnnotationProbe: "stamp"}), 862, corev1.ProtocolUDP),
		listening(newPod(ns, critical(), nil), 862, corev1.ProtocolUDP),
		newPod(ns, bestEffort(), map[string]string{workload.AnnotationEgressBandwidth: "5G", workload.AnnotationMinBandwidth: "500M"}),
	} {
		c.create(t, pod)
		again := pod.DeepCopy()
		again.ObjectMeta = metav1.ObjectMeta{Namespace: ns, GenerateName: "p-", Labels: pod.Labels, Annotations: pod.Annotations}
		c.create(t, again)
		if diff := cmp.Diff(pod.Spec, again.Spec) + cmp.Diff(pod.Labels, again.Labels) + cmp.Diff(pod.Annotations, again.Annotations); diff != "" {
			t.Errorf("second pass (-first +second):\n%s", diff)
		}
	}
}

func TestNewPodBeginsAtItsSiblingsLimit(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	owned := func(hash string) *corev1.Pod {
		pod := ownedBy(ns, "ReplicaSet", "up-"+hash)
		pod.Labels["pod-template-hash"] = hash
		return pod
	}
	c.throttled(t, owned("old"), "23M")
	eventually(t, func() bool {
		next := owned("new")
		c.create(t, next, client.DryRunAll)
		return next.Annotations[workload.AnnotationEgressBandwidth] == "23M" && next.Annotations[workload.AnnotationInitialBandwidth] == "100M"
	})
}

// throttled creates a pod owned by owner and gives it a limit as the controller
// does.
func (c *testCluster) throttled(t *testing.T, pod *corev1.Pod, limit string) {
	t.Helper()
	c.create(t, pod)
	body := `{"metadata":{"annotations":{"kubernetes.io/egress-bandwidth":"` + limit + `"}}}`
	if err := c.client.Patch(t.Context(), pod, client.RawPatch("application/merge-patch+json", []byte(body))); err != nil {
		t.Fatal(err)
	}
}

func ownedBy(ns, kind, name string) *corev1.Pod {
	pod, yes := newPod(ns, bestEffort(), nil), true
	apiVersion := "apps/v1"
	if kind == "Job" {
		apiVersion = "batch/v1"
	}
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: "u", Controller: &yes}}
	return pod
}

// beginsAt waits until a new pod would begin at limit.
func (c *testCluster) beginsAt(t *testing.T, limit string, another func() *corev1.Pod) {
	t.Helper()
	eventually(t, func() bool {
		next := another()
		c.create(t, next, client.DryRunAll)
		return next.Annotations[workload.AnnotationEgressBandwidth] == limit
	})
}

// The only pod of a StatefulSet is gone before the next one is made.
func TestReplacedPodDoesNotEscape(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	another := func() *corev1.Pod { return ownedBy(ns, "StatefulSet", "store") }
	pod := another()
	c.throttled(t, pod, "24M")
	c.beginsAt(t, "24M", another)
	if err := c.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return apierrors.IsNotFound(c.client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod))
	})
	for range 20 {
		next := another()
		c.create(t, next, client.DryRunAll)
		if got := next.Annotations[workload.AnnotationEgressBandwidth]; got != "24M" {
			t.Fatalf("a replacement begins at %s, want 24M", got)
		}
	}
}

// Each run of a CronJob is another Job; its pods are siblings of the last run's.
func TestLaterJobsOfACronJobAreSiblings(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	yes := true
	job := func(name string) {
		j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "batch/v1", Kind: "CronJob", Name: "backup", UID: "u", Controller: &yes},
		}}}
		j.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}}
		if err := c.client.Create(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	job("backup-1")
	first := ownedBy(ns, "Job", "backup-1")
	c.throttled(t, first, "25M")
	job("backup-2")
	c.beginsAt(t, "25M", func() *corev1.Pod { return ownedBy(ns, "Job", "backup-2") })

	first.Status.Phase = corev1.PodSucceeded
	if err := c.client.Status().Update(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	job("backup-3")
	next := ownedBy(ns, "Job", "backup-3")
	c.create(t, next)
	if got := next.Annotations[workload.AnnotationEgressBandwidth]; got != "25M" {
		t.Errorf("the run after a finished one begins at %s, want 25M", got)
	}
	stranger := ownedBy(ns, "Job", "backup-of-somebody")
	c.create(t, stranger)
	if got := stranger.Annotations[workload.AnnotationEgressBandwidth]; got != "100M" {
		t.Errorf("a Job of nobody's CronJob begins at %s, want 100M", got)
	}
}

// Kinds whose next rollout or run has another controller do not escape, and a
// bare ReplicaSet is not slowed by the Deployment that it is called after.
func TestNextRunBeginsAtTheLastOnesLimit(t *testing.T) {
	c := needCluster(t)
	for name, run := range map[string]func(ns, n string) *corev1.Pod{
		"DeploymentConfig": func(ns, n string) *corev1.Pod {
			return controlledBy(ns, "v1", "ReplicationController", "web-"+n, map[string]string{"deploymentconfig": "web"})
		},
		"Knative": func(ns, n string) *corev1.Pod {
			return controlledBy(ns, "apps/v1", "ReplicaSet", "fn-0000"+n+"-deployment-h"+n, map[string]string{"pod-template-hash": "h" + n, "serving.knative.dev/configuration": "fn"})
		},
		"Workflow": func(ns, n string) *corev1.Pod {
			return controlledBy(ns, "argoproj.io/v1alpha1", "Workflow", "etl-170000000"+n, nil)
		},
		"Spark executor": func(ns, n string) *corev1.Pod {
			return controlledBy(ns, "v1", "Pod", "pi-"+n+"-driver", map[string]string{"spark-app-name": "pi", "spark-role": "executor"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := c.namespace(t)
			c.throttled(t, run(ns, "1"), "27M")
			c.beginsAt(t, "27M", func() *corev1.Pod { return run(ns, "2") })
		})
	}
	ns := c.namespace(t)
	deployed := func(n string) *corev1.Pod {
		return controlledBy(ns, "apps/v1", "ReplicaSet", "up-"+n, map[string]string{"pod-template-hash": n})
	}
	c.throttled(t, deployed("old"), "28M")
	c.beginsAt(t, "28M", func() *corev1.Pod { return deployed("new") })
	bare := controlledBy(ns, "apps/v1", "ReplicaSet", "up", nil)
	c.create(t, bare)
	if got := bare.Annotations[workload.AnnotationEgressBandwidth]; got != "100M" {
		t.Errorf("a bare ReplicaSet begins at %s, want 100M", got)
	}
}

func controlledBy(ns, apiVersion, kind, name string, labels map[string]string) *corev1.Pod {
	pod := ownedBy(ns, kind, name)
	pod.OwnerReferences[0].APIVersion = apiVersion
	maps.Copy(pod.Labels, labels)
	return pod
}

func TestEphemeralContainersPass(t *testing.T) {
	c := needCluster(t)
	pod := newPod(c.namespace(t), bestEffort(), nil)
	c.create(t, pod)
	before := pod.DeepCopy()
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "i"},
	})
	if err := c.client.SubResource("ephemeralcontainers").Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Annotations, pod.Annotations); diff != "" {
		t.Errorf("annotations changed:\n%s", diff)
	}
}
