package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Changed is a workload whose template carries a limit that detnet gave it.
type Changed struct {
	inventory.Workload
	From, To string // limits; "" is none
	uid      types.UID
	before   map[string]*string
	// left: somebody else has stated a limit since, which is theirs to keep.
	left bool
}

func (c Changed) String() string { return describe(c.Workload) }

// Find lists the changed templates of namespace, "" for all. A note that can't
// be read is reported.
func Find(ctx context.Context, client kubernetes.Interface, namespace string) ([]Changed, error) {
	var all []Changed
	var errs []error
	look := func(kind string, meta metav1.ObjectMeta, template corev1.PodTemplateSpec) {
		note, ok := meta.Annotations[workload.AnnotationTemplateBefore]
		if !ok {
			return
		}
		c := Changed{Workload: inventory.Workload{Kind: kind, Namespace: meta.Namespace, Name: meta.Name}, From: template.Annotations[workload.AnnotationEgressBandwidth], uid: meta.UID}
		if err := json.Unmarshal([]byte(note), &c.before); err != nil {
			errs = append(errs, fmt.Errorf("%s: annotation %s: %w", c, workload.AnnotationTemplateBefore, err))
			return
		}
		if wrote := c.before[given]; wrote != nil && *wrote != c.From {
			c.left, c.To = true, c.From
		} else if before := c.before[workload.AnnotationEgressBandwidth]; before != nil {
			c.To = *before
		}
		all = append(all, c)
	}
	apps, options := client.AppsV1(), metav1.ListOptions{}
	deployments, err := apps.Deployments(namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list Deployments: %w", err)
	}
	for _, d := range deployments.Items {
		look("Deployment", d.ObjectMeta, d.Spec.Template)
	}
	statefulSets, err := apps.StatefulSets(namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list StatefulSets: %w", err)
	}
	for _, s := range statefulSets.Items {
		look("StatefulSet", s.ObjectMeta, s.Spec.Template)
	}
	daemonSets, err := apps.DaemonSets(namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list DaemonSets: %w", err)
	}
	for _, d := range daemonSets.Items {
		look("DaemonSet", d.ObjectMeta, d.Spec.Template)
	}
	return all, errors.Join(errs...)
}

// Undo gives the template back what it had, which replaces all pods once more. A
// limit that somebody else has stated since stays.
func (c Changed) Undo(ctx context.Context, to *write.Writer) error {
	before := map[string]*string{}
	for _, key := range []string{workload.AnnotationEgressBandwidth, workload.AnnotationInitialBandwidth, workload.AnnotationMaxBandwidth} {
		if v, ok := c.before[key]; ok && !(c.left && key == workload.AnnotationEgressBandwidth) {
			before[key] = v
		}
	}
	err := to.Do(ctx, write.Change{
		Target:      target(c.Workload, c.uid),
		Annotations: map[string]string{workload.AnnotationTemplateBefore: ""},
		Merge:       inTemplate(before),
	})
	if err != nil {
		return fmt.Errorf("restore template: %w", err)
	}
	return nil
}

func target(w inventory.Workload, uid types.UID) write.Target {
	return write.Target{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, UID: uid}
}

// inTemplate is a merge patch of the template's annotations.
func inTemplate(annotations any) map[string]any {
	return map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": annotations}}}}
}

func describe(w inventory.Workload) string { return w.Kind + " " + w.Namespace + "/" + w.Name }

var errKind = errors.New("templates of this kind can't be changed: want Deployment, StatefulSet or DaemonSet")

// get returns the metadata of a workload and the annotations of its template.
func get(ctx context.Context, client kubernetes.Interface, w inventory.Workload) (meta metav1.ObjectMeta, template map[string]string, err error) {
	apps, options := client.AppsV1(), metav1.GetOptions{}
	switch w.Kind {
	case "Deployment":
		d, err := apps.Deployments(w.Namespace).Get(ctx, w.Name, options)
		if err != nil {
			return meta, nil, err
		}
		return d.ObjectMeta, d.Spec.Template.Annotations, nil
	case "StatefulSet":
		s, err := apps.StatefulSets(w.Namespace).Get(ctx, w.Name, options)
		if err != nil {
			return meta, nil, err
		}
		return s.ObjectMeta, s.Spec.Template.Annotations, nil
	case "DaemonSet":
		d, err := apps.DaemonSets(w.Namespace).Get(ctx, w.Name, options)
		if err != nil {
			return meta, nil, err
		}
		return d.ObjectMeta, d.Spec.Template.Annotations, nil
	}
	return meta, nil, errKind
}
