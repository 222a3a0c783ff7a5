//go:build race

package user

const raceDetector = true
