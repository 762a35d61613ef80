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

	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/workload"
)

// Changed is a workload whose template carries a limit that detnet gave it.
type Changed struct {
	inventory.Workload
	From, To string // limits; "" is none
	before   map[string]*string
}

func (c Changed) String() string { return describe(c.Workload) }

// Find lists the changed templates of namespace, "" for all. A note that can't
// be read is reported.
func Find(ctx context.Context, client kubernetes.Interface, namespace string) ([]Changed, error) {
	var all []Changed
	var errs []error
	look := func(kind string, meta metav1.ObjectMeta, template corev1.PodTemplateSpec) {
		note, ok := meta.Annotations[workload.TemplateBefore]
		if !ok {
			return
		}
		c := Changed{Workload: inventory.Workload{Kind: kind, Namespace: meta.Namespace, Name: meta.Name}, From: template.Annotations[workload.EgressBandwidth]}
		if err := json.Unmarshal([]byte(note), &c.before); err != nil {
			errs = append(errs, fmt.Errorf("%s: annotation %s: %w", c, workload.TemplateBefore, err))
			return
		}
		if before := c.before[workload.EgressBandwidth]; before != nil {
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

// Undo gives the template back what it had, which replaces all pods once more.
func (c Changed) Undo(ctx context.Context, client kubernetes.Interface) error {
	before := map[string]*string{}
	for _, key := range []string{workload.EgressBandwidth, workload.InitialBandwidth, workload.MaxBandwidth} {
		if v, ok := c.before[key]; ok {
			before[key] = v
		}
	}
	err := patch(ctx, client, c.Workload, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{workload.TemplateBefore: nil}},
		"spec":     map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": before}}},
	})
	if err != nil {
		return fmt.Errorf("restore template of %s: %w", c, err)
	}
	return nil
}

func describe(w inventory.Workload) string { return w.Kind + " " + w.Namespace + "/" + w.Name }

var errKind = errors.New("templates of this kind can't be changed: want Deployment, StatefulSet or DaemonSet")

// get returns the annotations of a workload and of its template.
func get(ctx context.Context, client kubernetes.Interface, w inventory.Workload) (meta, template map[string]string, err error) {
	apps, options := client.AppsV1(), metav1.GetOptions{}
	switch w.Kind {
	case "Deployment":
		d, err := apps.Deployments(w.Namespace).Get(ctx, w.Name, options)
		if err != nil {
			return nil, nil, err
		}
		return d.Annotations, d.Spec.Template.Annotations, nil
	case "StatefulSet":
		s, err := apps.StatefulSets(w.Namespace).Get(ctx, w.Name, options)
		if err != nil {
			return nil, nil, err
		}
		return s.Annotations, s.Spec.Template.Annotations, nil
	case "DaemonSet":
		d, err := apps.DaemonSets(w.Namespace).Get(ctx, w.Name, options)
		if err != nil {
			return nil, nil, err
		}
		return d.Annotations, d.Spec.Template.Annotations, nil
	}
	return nil, nil, errKind
}

func patch(ctx context.Context, client kubernetes.Interface, w inventory.Workload, merge any) error {
	body, err := json.Marshal(merge)
	if err != nil {
		return err
	}
	apps, options := client.AppsV1(), metav1.PatchOptions{FieldManager: actuate.FieldManager}
	switch w.Kind {
	case "Deployment":
		_, err = apps.Deployments(w.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, options)
	case "StatefulSet":
		_, err = apps.StatefulSets(w.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, options)
	case "DaemonSet":
		_, err = apps.DaemonSets(w.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, options)
	default:
		err = errKind
	}
	return err
}
