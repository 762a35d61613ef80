package controller

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// maxTold bounds the Events about what pods state wrongly, at one time: a
// template's error is in all of its pods.
const maxTold = 50

// versions of the kinds that own pods.
var versions = map[string]string{
	"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1", "Job": "batch/v1",
}

// tellOwners puts what is wrong with a pod on it and on what it was made from,
// and returns the number of Events.
func tellOwners(events Events, p inventory.Problem) int {
	if p.UID == "" {
		return 0
	}
	pod := &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Pod.Namespace, Name: p.Pod.Name, UID: p.UID}
	events.Eventf(pod, nil, corev1.EventTypeWarning, "Ignored", "read", "%s", write.Note(p.Text))
	version := versions[p.Workload.Kind]
	if version == "" {
		return 1
	}
	owner := &corev1.ObjectReference{APIVersion: version, Kind: p.Workload.Kind, Namespace: p.Workload.Namespace, Name: p.Workload.Name}
	events.Eventf(owner, nil, corev1.EventTypeWarning, "Ignored", "read", "%s", write.Note("in its pods, "+p.Text))
	return 2
}

// atFloor says who is at the floor behind a bottleneck, and who is not and why
// that does not help: what nobody uses can't be taken.
func atFloor(s *inventory.Snapshot, bottleneck plan.Bottleneck) string {
	var floors, above, all int
	var held bitrate.Rate
	for _, sender := range s.Senders {
		if sender.Mode != workload.Enforce || !bottleneck.Whole && sender.Node != bottleneck.Node {
			continue
		}
		all++
		switch {
		case sender.Limit != 0 && sender.Limit <= sender.Min:
			floors++
		default:
			above++
			held += sender.Limit
		}
	}
	if above == 0 {
		return fmt.Sprintf("all %d best-effort pods are at their floor.", all)
	}
	return fmt.Sprintf("%d of %d best-effort pods are at their floor, and the limits of the other %d, %v together, are not used.", floors, all, above, held)
}
