// Package doctor examines an install of detnet from outside, through the API
// server alone: is each part there, and do they work together? Every problem
// comes with what to do about it. "detnet doctor" shows the result, and the
// chart's "helm test" runs it.
package doctor

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Finding is the outcome of one check.
type Finding struct {
	Check   string `json:"check"`
	Problem string `json:"problem,omitempty"` // empty: all is well
	Advice  string `json:"advice,omitempty"`  // what to do about it
	// Notes are what is as it should be, and has to be known all the same.
	Notes []string `json:"notes,omitempty"`
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
	{"webhook serves", deployed("detnet-webhook", "pods start unstamped")},
	{"API server trusts the webhook", webhookTrusted},
	{"pods are stamped", podsStamped},
	{"controller runs", deployed("detnet-controller", "limits stay as they are")},
	{"controller leads", controllerLeads},
	{"agents run", agentsRun},
	{"pods' traffic is measured", trafficMeasured},
	{"network policies are taken", policiesTaken},
	{"network policies select pods", policiesSelect},
}

// Examine makes every check, whatever the ones before it found.
func Examine(ctx context.Context, c client.Client, i Install) []Finding {
	var findings []Finding
	for _, check := range checks {
		problem, advice, err := check.run(ctx, c, i)
		if err != nil {
			problem, advice = unknown(err, i)
		}
		findings = append(findings, Finding{Check: check.name, Problem: problem, Advice: advice})
	}
	return append(findings, limitsEnforced(ctx, c, i))
}

func webhookTrusted(ctx context.Context, c client.Client, _ Install) (problem, advice string, err error) {
	var configuration admissionv1.MutatingWebhookConfiguration
	if err := c.Get(ctx, client.ObjectKey{Name: "detnet-webhook"}, &configuration); err != nil {
		return "", "", err
	}
	if len(configuration.Webhooks) == 0 {
		return "its configuration names no webhook: no pod is stamped", "helm upgrade the release", nil
	}
	for _, w := range configuration.Webhooks {
		if len(w.ClientConfig.CABundle) == 0 {
			return "webhook " + w.Name + " has no caBundle", "wait for the webhook to have its certificate: its log says when, and with cert-manager: kubectl describe certificate detnet-webhook-tls", nil
		}
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

// limitsEnforced finds out who follows the annotations of running pods, and what that
// means for those who set targets.
func limitsEnforced(ctx context.Context, c client.Client, i Install) Finding {
	f := Finding{Check: "limits are enforced"}
	agent, problem, advice, err := nodeAgent(ctx, c, i)
	if err == nil && problem == "" {
		var d datapath
		if d, err = getDatapath(ctx, c, agent); err == nil {
			if problem, advice = d.problem(); problem == "" {
				f.Notes = d.notes()
			}
		}
	}
	if err != nil {
		problem, advice = unknown(err, i)
	}
	f.Problem, f.Advice = problem, advice
	return f
}

// unknown is the finding of a check that could not be made.
func unknown(err error, i Install) (problem, advice string) {
	return "could not be found out: " + err.Error(), fmt.Sprintf("see that detnet is installed in namespace %s (--detnet-namespace names another), and that you may read it", i.Namespace)
}

// trafficMeasured finds out whether the agents can tell which interface is
// whose.
func trafficMeasured(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
	if _, problem, advice, err := nodeAgent(ctx, c, i); err != nil || problem != "" {
		return problem, advice, err
	}
	cilium, err := getCilium(ctx, c)
	if err != nil || cilium == nil {
		return "", "", err
	}
	problem, advice = cilium.interfaces()
	return problem, advice, nil
}
