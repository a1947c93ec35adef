variable "name" {
  description = "What the names of everything begin with."
  type        = string
  default     = "enginefarm"
}

variable "releases_bucket" {
  description = "Name of the bucket for releases: <prefix>/<model>/<version>/…"
  type        = string
}

variable "releases_prefix" {
  description = "What comes before the model in every key of a release."
  type        = string
  default     = "models"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.releases_prefix))
    error_message = "A prefix has no slashes at its ends."
  }
}

variable "store_bucket" {
  description = "Name of the bucket for engines and all that belongs to them."
  type        = string
}

variable "receives" {
  description = "How often a notification is received before it is a dead letter."
  type        = number
  default     = 5
}
