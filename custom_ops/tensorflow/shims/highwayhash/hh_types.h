// Why is this here? See highwayhash.h beside it.
#pragma once
