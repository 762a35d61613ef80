package pods

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/detnet/detnet/workload"
)

// object is what is read of a Pod of core/v1. The package of the API's own types
// would add 4 MB to the program, mapped even in the role that watches no pods.
type object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		HostNetwork bool `json:"hostNetwork"`
	} `json:"spec"`
	Status struct {
		Phase  string  `json:"phase"`
		PodIPs []podIP `json:"podIPs"`
	} `json:"status"`
}

type podIP struct {
	IP string `json:"ip"`
}

// Phases in which a pod sends no more.
const (
	succeeded = "Succeeded"
	failed    = "Failed"
)

type objectList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []object `json:"items"`
}

func (o *object) DeepCopyObject() runtime.Object { return o.deepCopy() }

func (o *object) deepCopy() *object {
	c := *o
	o.DeepCopyInto(&c.ObjectMeta)
	c.Status.PodIPs = slices.Clone(o.Status.PodIPs)
	return &c
}

func (l *objectList) DeepCopyObject() runtime.Object {
	c := &objectList{TypeMeta: l.TypeMeta}
	l.DeepCopyInto(&c.ListMeta)
	for i := range l.Items {
		c.Items = append(c.Items, *l.Items[i].deepCopy())
	}
	return c
}

var coreV1 = schema.GroupVersion{Version: "v1"}

// newScheme decodes Pods into object.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(coreV1.WithKind("Pod"), &object{})
	scheme.AddKnownTypeWithName(coreV1.WithKind("PodList"), &objectList{})
	metav1.AddToGroupVersion(scheme, coreV1)
	return scheme
}

// strip drops what nobody here reads before the informer stores it.
func strip(obj any) (any, error) {
	o, ok := obj.(*object)
	if !ok {
		return obj, nil
	}
	slim := &object{Spec: o.Spec, Status: o.Status, ObjectMeta: metav1.ObjectMeta{
		Namespace: o.Namespace, Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion,
		Annotations: maps.Clone(o.Annotations)}}
	maps.DeleteFunc(slim.Annotations, func(key, _ string) bool { return key != workload.EgressBandwidth && key != workload.IngressBandwidth })
	return slim, nil
}
