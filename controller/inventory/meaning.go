package inventory

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// meaningOf works out what a pod is to detnet: by its stamps, if they are
// admission's; else by what the administrator says of its Deployment; and
// whether admission is to be asked about it. It is called with mu held.
func (inv *Inventory) meaningOf(r *record) meaning {
	var m meaning
	pod, mode := r.pod, inv.modeOf(r.pod.Namespace)
	if pod.Labels[workload.LabelClass] != "" && r.err == nil {
		m = parse(pod)
	} else if runs(pod) {
		m = inv.static.parse(pod)
	}
	if mode != workload.Off {
		m.problems = append(m.problems, misspelt(pod)...)
		m.problems = append(m.problems, unknownClass(pod, r.err == nil, r.settled)...)
		if r.err == nil {
			m.problems = append(m.problems, notGranted(pod)...)
		}
	}
	if mode != workload.Off && inv.wanting(r) {
		m.unstamped = &Unstamped{
			Pod: podID(pod), UID: pod.UID, Mode: mode,
			Forged: r.err != nil && wears(pod), Outdated: r.err == nil && !inv.due(pod),
		}
	}
	if m.sender != nil {
		m.sender.Mode = mode
		if inv.due(pod) {
			m.sender.Mode = mode.And(workload.Observe) // until it has what makes it throttleable
		}
		if mode != workload.Enforce && limited(m.sender) {
			m.giveBack = m.sender
		}
	}
	if m.app != nil {
		m.app.Mode = mode
	}
	if mode == workload.Off {
		m.app, m.sender = nil, nil
	}
	return m
}

// limited reports that a pod has less than it had before detnet moved its limit.
func limited(s *Sender) bool {
	if s.Restore == workload.NoLimit {
		return s.Limit != 0
	}
	before, err := bitrate.ParseLimit(s.Restore)
	return err == nil && s.Limit != 0 && s.Limit < before
}

// runs: it is on a node and has not ended.
func runs(pod *slimPod) bool {
	return pod.node != "" && pod.phase != corev1.PodSucceeded && pod.phase != corev1.PodFailed
}

// wears reports that a pod carries what only detnet may say.
func wears(pod *slimPod) bool {
	for _, key := range workload.Managed {
		if !key.Stamp {
			continue
		}
		from := pod.Annotations
		if key.Label {
			from = pod.Labels
		}
		if cmp.Or(from[key.Name]) != "" {
			return true
		}
	}
	return false
}
