package doctor

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/policies/live"
)

// AskWebhook asks each replica of the webhook by which policy it decides: one that is ready may do so
// by another than the site's. Whoever may not ask (list pods, get pods/proxy) gets no finding.
func AskWebhook(ctx context.Context, client kubernetes.Interface, namespace string) []Finding {
	const check = "the site's policy is in force"
	replicas, err := live.Replicas(ctx, client, namespace)
	switch {
	case apierrors.IsForbidden(err), err == nil && len(replicas) == 0: // whether any is there is another check
		return nil
	case err != nil:
		return []Finding{{Check: check, Problem: "the webhook could not be asked: " + err.Error(), Advice: "see whether its pods are ready, and their logs"}}
	}
	problem := policiesInForce(replicas)
	if problem == "" {
		return []Finding{{Check: check}}
	}
	return []Finding{{Check: check, Problem: problem, Advice: "mend the policy (policy.files or policy.bundle); detnet policy check -d DIR says whether it is good"}}
}

// policiesInForce names the replicas that decide by another policy than the site's newest, and why.
func policiesInForce(replicas []live.Replica) string {
	var out []string
	for _, r := range replicas {
		s := r.Status
		switch {
		case s.Instead != "" && !r.Ready:
			out = append(out, fmt.Sprintf("pod %s stands by, with the %s: %s", r.Pod, s.Instead, s.LastError))
		case s.Instead != "":
			out = append(out, fmt.Sprintf("pod %s decides by the %s: %s", r.Pod, s.Instead, s.LastError))
		case s.LastError != "":
			out = append(out, fmt.Sprintf("pod %s refuses the newest and decides by the one before: %s", r.Pod, s.LastError))
		}
	}
	return strings.Join(out, "; ")
}
