package pods

import (
	"encoding/json"
	"net/netip"

	"github.com/detnet/detnet/workload"
)

// object is what is read of a Pod of core/v1.
type object struct {
	Metadata struct {
		Namespace       string            `json:"namespace"`
		Name            string            `json:"name"`
		UID             string            `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
		Deletion        string            `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		HostNetwork bool `json:"hostNetwork"`
	} `json:"spec"`
	Status struct {
		Phase  string `json:"phase"`
		PodIPs []struct {
			IP string `json:"ip"`
		} `json:"podIPs"`
	} `json:"status"`
}

// list is a PodList of core/v1.
type list struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []object `json:"items"`
}

// event is a WatchEvent of meta/v1. Its object is a Pod, or a Status where the
// type is ERROR.
type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// status is what is read of a Status of meta/v1.
type status struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// sends reports whether the pod may send from a network namespace of its own.
func (o *object) sends() bool {
	return !o.Spec.HostNetwork && o.Status.Phase != "Succeeded" && o.Status.Phase != "Failed"
}

func (o *object) pod() Pod {
	p := Pod{
		Namespace: o.Metadata.Namespace,
		Name:      o.Metadata.Name,
		UID:       o.Metadata.UID,
		Egress:    o.Metadata.Annotations[workload.AnnotationEgressBandwidth],
		Ingress:   o.Metadata.Annotations[workload.AnnotationIngressBandwidth],
		Decision:  o.Metadata.Annotations[workload.AnnotationLimitDecision],
		Stopping:  o.Metadata.Deletion != "",
	}
	for _, ip := range o.Status.PodIPs {
		if addr, err := netip.ParseAddr(ip.IP); err == nil {
			p.IPs = append(p.IPs, addr)
		}
	}
	return p
}
