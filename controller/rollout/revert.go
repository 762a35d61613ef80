package rollout

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// given is the key in the note for the limit that detnet gave the template last.
const given = "detnet.dev/given"

// telling is what was said of a workload whose template is left to somebody else.
type telling struct{ noted bool } // the note was on it, and may be deleted to go on

// reverted reports that a template does not carry the limit that it was given
// last: somebody else states one, such as a tool that applies what is in Git.
// Each would undo the other for ever, with new pods every time, so the other one
// keeps it, until the note is deleted. The note on the workload tells the next leader too.
func (r *Rollout) reverted(w inventory.Workload, meta metav1.ObjectMeta, template map[string]string) bool {
	wrote, known := r.wrote[w]
	var note map[string]*string
	noted := json.Unmarshal([]byte(meta.Annotations[workload.AnnotationTemplateBefore]), &note) == nil && note[given] != nil
	said, told := r.told[w]
	if told && said.noted && !noted { // somebody did as was said
		delete(r.wrote, w)
		known = false
	}
	if noted {
		wrote, known = *note[given], true
	}
	if !known || template[workload.AnnotationEgressBandwidth] == wrote {
		delete(r.told, w)
		return false
	}
	if told {
		return true
	}
	if r.told == nil {
		r.told = map[inventory.Workload]telling{}
	}
	r.told[w] = telling{noted}
	who := strings.Join(statedBy(meta.ManagedFields), ", ")
	if who == "" {
		who = "somebody"
	}
	r.Log.Warn("template left alone: its limit was changed back", "kind", w.Kind, "namespace", w.Namespace, "name", w.Name,
		"by", who, "given", wrote, "has", template[workload.AnnotationEgressBandwidth])
	if r.Events != nil {
		then := "delete annotation " + workload.AnnotationTemplateBefore + " from this object"
		if !noted { // who puts the template back takes the note away as well
			then = "set rolloutEvery to 0 and back"
		}
		r.Events.Eventf(target(w, meta.UID).Reference(), nil, corev1.EventTypeWarning, "RolloutStopped", "roll-out", "%s",
			write.Note("detnet gave the template the limit "+wrote+", and "+who+" changed it back: detnet changes it no more. Take annotation "+
				workload.AnnotationEgressBandwidth+" out of what "+who+" applies, and "+then+", for rolloutEvery to go on"))
	}
	return true
}

// statedBy names the field managers, but detnet's, that own the template's limit.
func statedBy(fields []metav1.ManagedFieldsEntry) []string {
	var names []string
	for _, f := range fields {
		owns := f.FieldsV1 != nil && bytes.Contains(f.FieldsV1.GetRawBytes(), []byte(`"f:`+workload.AnnotationEgressBandwidth+`"`))
		if owns && f.Manager != write.FieldManager && !slices.Contains(names, f.Manager) {
			names = append(names, f.Manager)
		}
	}
	return names
}
