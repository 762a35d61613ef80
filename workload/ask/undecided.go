package ask

// Undecided is the audit annotation of a webhook's answer that admits a pod on which
// nothing could be decided: its patch takes away what the pod brought along, which is
// no reason to take it from a pod that is there. The value says why.
const Undecided = "undecided"
