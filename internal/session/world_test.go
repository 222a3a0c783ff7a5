package session_test

import (
	"os"
	"strconv"
)

func worldDays() int {
	n, _ := strconv.Atoi(os.Getenv("HOLDFAST_WORLD_DAYS"))
	return n
}
