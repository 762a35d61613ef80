package webhook

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// Indexes: pods by what made them, and Jobs by what made those.
const (
	byWorkload = "workload"
	byOwner    = "owner"
)

// Siblings returns the running pods of the workload that pod will belong to.
// Where none runs, the one that ended lately stands for them: the only pod of a
// StatefulSet is gone before it is replaced, a Job's failed pod before the Job
// tries again, and a CronJob's Job before the next.
func (i *Informers) Siblings(ctx context.Context, namespace string, pod *corev1.Pod) ([]policies.Sibling, error) {
	id := i.workload(pod)
	if id == "" {
		return nil, nil
	}
	cron, err := i.cronJob(ctx, i.live, namespace, pod, id)
	if err != nil {
		return nil, err
	}
	members := []string{id}
	if cron != "" {
		if members, err = i.jobsOf(ctx, namespace, cron); err != nil {
			return nil, err
		}
		id = cron
	}
	var out []policies.Sibling
	for _, member := range members {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
		if err := i.cached.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{byWorkload: member}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
		for n := range list.Items {
			if s, ok := siblingOf(&list.Items[n]); ok {
				out = append(out, s)
			}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, member := range members { // before those that left: who leaves this moment is among either
		out = append(out, i.known.pods(namespace+"/"+member)...)
	}
	if last, ok := i.left.last(namespace+"/"+id, time.Now()); ok {
		out = append(out, last)
	}
	return out, nil
}

// siblingOf reads the limit of a live pod. One that can't be read is not a limit
// to begin with.
func siblingOf(pod client.Object) (policies.Sibling, bool) {
	annotations := pod.GetAnnotations()
	limit, err := bitrate.ParseLimit(annotations[workload.AnnotationEgressBandwidth])
	return policies.Sibling{Name: pod.GetName(), Egress: limit}, err == nil && annotations[workload.AnnotationInitialBandwidth] != ""
}

func ownerOf(o client.Object) string {
	owner := metav1.GetControllerOf(o)
	if owner == nil {
		return ""
	}
	return controllerName(groupOf(owner.APIVersion), owner.Kind, owner.Name)
}

// cronJob names what made the Job that made the pod of workload id; "" if there is
// no such thing, or if labels told the workload. A Job that was made a moment ago
// may not be in the cache: live is asked for it, if it is not nil.
func (i *Informers) cronJob(ctx context.Context, live client.Reader, namespace string, pod client.Object, id string) (string, error) {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "Job" || groupOf(owner.APIVersion) != batchv1.GroupName || !strings.HasPrefix(id, "Job/") {
		return "", nil
	}
	job, key := jobMetadata(), client.ObjectKey{Namespace: namespace, Name: owner.Name}
	err := i.cached.Get(ctx, key, job)
	if apierrors.IsNotFound(err) && live != nil {
		err = live.Get(ctx, key, job)
	}
	return ownerOf(job), client.IgnoreNotFound(err)
}

// workload names the workload that the pod belongs to.
func (i *Informers) workload(pod client.Object) string { return workloadOf(pod, i.named) }

// jobsOf lists the Jobs that owner made, as their pods name them.
func (i *Informers) jobsOf(ctx context.Context, namespace, owner string) ([]string, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	if err := i.cached.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{byOwner: owner}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	out := make([]string, len(list.Items))
	for n, job := range list.Items {
		out[n] = controllerName(batchv1.GroupName, "Job", job.Name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func jobMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("Job"))
	return m
}

// onlyOwners drops all of an object's metadata but its name and owners.
func onlyOwners(object any) (any, error) {
	if m, ok := object.(*metav1.PartialObjectMetadata); ok {
		m.ManagedFields, m.Labels, m.Annotations = nil, nil, nil
	}
	return object, nil
}

// note is told of pods that are there, and how they were before; nil: not at all.
func (i *Informers) note(before, now any) {
	var here, there place
	if pod, ok := now.(client.Object); ok {
		if sibling, limited := siblingOf(pod); limited && i.workload(pod) != "" {
			here = i.placeOf(pod)
			i.known.add(here, sibling)
		}
	}
	if pod, ok := before.(client.Object); ok {
		there = i.placeOf(pod)
	}
	if there != here {
		i.known.remove(there)
	}
}

// forget is told of pods that ended or were deleted, and remembers their limits.
func (i *Informers) forget(object any) {
	if stone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = stone.Obj
	}
	pod, ok := object.(client.Object)
	if !ok {
		return
	}
	defer i.note(pod, nil) // last: until then it is known
	sibling, limited := siblingOf(pod)
	id := i.workload(pod)
	if id == "" || !limited {
		return
	}
	if cron, err := i.cronJob(context.Background(), nil, pod.GetNamespace(), pod, id); err == nil && cron != "" {
		id = cron
	}
	i.left.add(pod.GetNamespace()+"/"+id, sibling, time.Now())
}

// known are the pods with a limit, by workload, of which the cache has told. It tells of a pod's
// end a moment after it has dropped the pod: in between the pod is known here alone.
type known struct {
	mu sync.Mutex
	of map[string]map[types.UID]policies.Sibling
}

// place is a pod among those of its workload.
type place struct {
	id  string
	pod types.UID
}

func (i *Informers) placeOf(pod client.Object) place {
	return place{pod.GetNamespace() + "/" + i.workload(pod), pod.GetUID()}
}

func (k *known) add(at place, s policies.Sibling) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil {
		k.of = map[string]map[types.UID]policies.Sibling{}
	}
	if k.of[at.id] == nil {
		k.of[at.id] = map[types.UID]policies.Sibling{}
	}
	k.of[at.id][at.pod] = s
}

func (k *known) remove(at place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if delete(k.of[at.id], at.pod); len(k.of[at.id]) == 0 {
		delete(k.of, at.id)
	}
}

func (k *known) pods(id string) []policies.Sibling {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.of[id]))
}

// A pod that ended stands for its workload for a while, and of so many
// workloads.
const (
	rememberLeft = 5 * time.Minute
	maxLeft      = 4096
)

// departures are the pods that ended lately, one of each workload: the one with
// the lowest limit.
type departures struct {
	mu sync.Mutex
	of map[string]departure
}

type departure struct {
	sibling policies.Sibling
	until   time.Time
}

func (d *departures) add(id string, s policies.Sibling, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if before, ok := d.of[id]; ok && now.Before(before.until) && before.sibling.Egress < s.Egress {
		s = before.sibling
	}
	if len(d.of) >= maxLeft || d.of == nil {
		d.of = map[string]departure{}
	}
	d.of[id] = departure{s, now.Add(rememberLeft)}
}

func (d *departures) last(id string, now time.Time) (policies.Sibling, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	left, ok := d.of[id]
	if ok && !now.Before(left.until) {
		delete(d.of, id)
		return policies.Sibling{}, false
	}
	return left.sibling, ok
}
