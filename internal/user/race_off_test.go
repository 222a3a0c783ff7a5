//go:build !race

package user

const raceDetector = false
