// Why is this here? See highwayhash.h beside it.
#pragma once

#define HH_TARGET_PREFERRED 0
