package doctor

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/hostrouting"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/status"
)

// AskController asks the leader which agents report, since a pod that is ready may
// be silent all the same, and what they say of their nodes. Whoever may not ask (get pods and pods/proxy) gets no
// finding.
func AskController(ctx context.Context, client kubernetes.Interface, namespace string) []Finding {
	const check = "agents report"
	s, err := leader.Status(ctx, client, namespace, status.Query{})
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return []Finding{{Check: check, Problem: "the controller could not be asked: " + err.Error(), Advice: "see whether the controller leads, and its log"}}
	}
	problem, advice := reporting(s, namespace)
	findings := []Finding{{Check: check, Problem: problem, Advice: advice, Notes: uncounted(s)}}
	// Whoever may not read Cilium's configuration is told nothing of its queues.
	if config, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, hostrouting.ConfigMap, metav1.GetOptions{}); err == nil {
		findings = append(findings, uplinkQueues(s, config.Data)...)
	}
	return findings
}

// reporting names the agents that do not report, since when and why.
func reporting(s *status.Status, namespace string) (problem, advice string) {
	if len(s.Agents) == 0 {
		return "the controller knows of no agent: nothing is measured", fmt.Sprintf("kubectl -n %s get daemonsets", namespace)
	}
	var silent []string
	for _, a := range s.Agents {
		if a.Connected {
			continue
		}
		since := "yet"
		if !a.Since.IsZero() {
			since = "since " + a.Since.UTC().Format("2006-01-02T15:04:05Z")
		}
		silent = append(silent, fmt.Sprintf("%s agent %s on %s does not report %s: %s", a.Role, a.Pod, a.Node, since, a.Why))
	}
	if len(silent) == 0 {
		return "", ""
	}
	return strings.Join(silent, "; "), "see the log of that pod; deleting it starts another"
}

// uncounted names pods of which an agent that reports does not tell what they send.
func uncounted(s *status.Status) []string {
	reports := map[string]bool{}
	for _, a := range s.Agents {
		if a.Role == "node" && a.Connected {
			reports[a.Node] = true
		}
	}
	var names []string
	for _, p := range s.Senders {
		if !p.Known && reports[p.Node] {
			names = append(names, p.Pod)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"what these send is not known to their nodes' agents, whose logs say why where it lasts, and their limits do not follow it: " + few(names)}
}
