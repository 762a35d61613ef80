package leader

import "time"

// transitionBits is the part of a term that counts leaders under one lease; the
// rest is when the lease was made, so that one made anew goes on and not back.
const transitionBits = 20

// SingleTerm is the term of a controller without others, which began at a time.
func SingleTerm(began time.Time) uint64 { return termOf(began, 0) }

func termOf(made time.Time, transitions int) uint64 {
	return uint64(max(made.Unix(), 0))<<transitionBits | uint64(min(max(transitions, 0), 1<<transitionBits-1))
}
