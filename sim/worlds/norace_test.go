//go:build !race

package worlds

const race = false // the detector is on: everything takes many times as long
