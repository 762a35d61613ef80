// Package doctor examines an install of detnet from outside, through the API
// server alone: is each part there, and do they work together? Every problem
// comes with what to do about it. "detnet doctor" shows the result, and the
// chart's "helm test" runs it.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/workload"
)

// Finding is the outcome of one check.
type Finding struct {
	Check   string `json:"check"`
	Problem string `json:"problem,omitempty"` // empty: all is well
	Advice  string `json:"advice,omitempty"`  // what to do about it
}

// Install says what is examined.
type Install struct {
	Namespace string // of the chart's release
	// Trial is the namespace in which a pod is created, on dry run, to see it
	// stamped. It must not be one that the webhook leaves alone.
	Trial string
}

// check returns a problem and what to do about it, or nothing. An error means
// that it could not be found out.
type check struct {
	name string
	run  func(ctx context.Context, c client.Client, i Install) (problem, advice string, err error)
}

var checks = []check{
	{"webhook serves", webhookServes},
	{"API server trusts the webhook", webhookTrusted},
	{"pods are stamped", podsStamped},
	{"controller leads", controllerLeads},
	{"agents run", agentsRun},
	{"pods' traffic is measured", trafficMeasured},
	{"limits are enforced", limitsEnforced},
}

// Examine makes every check, whatever the ones before it found.
func Examine(ctx context.Context, c client.Client, i Install) []Finding {
	var findings []Finding
	for _, check := range checks {
		problem, advice, err := check.run(ctx, c, i)
		if err != nil {
			problem, advice = "could not be found out: "+err.Error(), "see that detnet is installed in this namespace, and that you may read it"
		}
		findings = append(findings, Finding{check.name, problem, advice})
	}
	return findings
}

func webhookServes(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
	var d appsv1.Deployment
	if err := c.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: "detnet-webhook"}, &d); err != nil {
		return "", "", err
	}
	if d.Status.AvailableReplicas == 0 {
		return "none of its replicas is available: pods start unstamped", fmt.Sprintf("kubectl -n %s describe deployment detnet-webhook", i.Namespace), nil
	}
	return "", "", nil
}

func webhookTrusted(ctx context.Context, c client.Client, _ Install) (problem, advice string, err error) {
	var configuration admissionv1.MutatingWebhookConfiguration
	if err := c.Get(ctx, client.ObjectKey{Name: "detnet-webhook"}, &configuration); err != nil {
		return "", "", err
	}
	for _, w := range configuration.Webhooks {
		if len(w.ClientConfig.CABundle) == 0 {
			return "webhook " + w.Name + " has no caBundle", "wait for cert-manager's injector, or for the webhook to issue its certificate: its log says when", nil
		}
	}
	return "", "", nil
}

// podsStamped asks for what users will ask for, and has the API server throw
// the pod away.
func podsStamped(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
	nonroot, no := true, false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: i.Trial, GenerateName: "detnet-doctor-",
			Labels: map[string]string{workload.LabelPriority: "best-effort"},
		},
		// Fit for the restricted Pod Security profile.
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &nonroot, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "none", Image: "none.invalid/none",
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
	if err := c.Create(ctx, pod, client.DryRunAll); err != nil {
		return "", "", fmt.Errorf("create a pod in namespace %s on dry run: %w", i.Trial, err)
	}
	if pod.Labels[workload.LabelClass] == "" {
		return "a pod labelled " + workload.LabelPriority + "=best-effort came out without a class",
			"see whether the webhook serves and is trusted, and whether webhook.ignoreNamespaces names " + i.Trial, nil
	}
	return "", "", nil
}

// silence is several times the controller's lease and a coarse clock's error.
const silence = time.Minute

func controllerLeads(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
	var lease coordinationv1.Lease
	if err := c.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: "detnet-controller"}, &lease); err != nil {
		return "", "", err
	}
	advice = fmt.Sprintf("kubectl -n %s logs deployment/detnet-controller", i.Namespace)
	switch {
	case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil:
		return "no replica leads: limits stay as they are", advice, nil
	case time.Since(lease.Spec.RenewTime.Time) > silence:
		return fmt.Sprintf("the leader has been silent since %s: limits stay as they are", lease.Spec.RenewTime.UTC().Format(time.RFC3339)), advice, nil
	}
	return "", "", nil
}

func agentsRun(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
	var problems []string
	for _, name := range []string{"detnet-agent-probe", "detnet-agent-node"} {
		var d appsv1.DaemonSet
		if err := c.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: name}, &d); err != nil {
			return "", "", err
		}
		if d.Status.NumberReady < d.Status.DesiredNumberScheduled || d.Status.DesiredNumberScheduled == 0 {
			problems = append(problems, fmt.Sprintf("%s is ready on %d of %d nodes", name, d.Status.NumberReady, d.Status.DesiredNumberScheduled))
		}
	}
	if len(problems) == 0 {
		return "", "", nil
	}
	return strings.Join(problems, "; "), fmt.Sprintf("kubectl -n %s get pods -o wide; what these nodes carry is not measured", i.Namespace), nil
}

// limitsEnforced finds out who follows the annotations of running pods.
func limitsEnforced(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
	var agent appsv1.DaemonSet
	if err := c.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: "detnet-agent-node"}, &agent); err != nil {
		return "", "", err
	}
	for _, container := range agent.Spec.Template.Spec.Containers {
		if slices.Contains(container.Args, "--enforce=tc") {
			return "", "", nil
		}
	}
	cilium, err := getCilium(ctx, c)
	if err != nil {
		return "", "", err
	}
	if cilium == nil {
		return "nobody follows the limits: there is no Cilium and the agents do not enforce", "helm upgrade with --set agent.enforce=tc", nil
	}
	problem, advice = cilium.limits()
	return problem, advice, nil
}

// trafficMeasured finds out whether the agents can tell which interface is
// whose.
func trafficMeasured(ctx context.Context, c client.Client, _ Install) (problem, advice string, err error) {
	cilium, err := getCilium(ctx, c)
	if err != nil || cilium == nil {
		return "", "", err
	}
	problem, advice = cilium.interfaces()
	return problem, advice, nil
}
