import { decimal, stream, z } from "millrace";

/** A line of a till receipt. The sales value is a float in the source, with its noise (`4.440892e-16`), so it is taken as one. */
export const transactions = stream("transactions", {
  schema: z.object({
    household_id: z.int(),
    store_id: z.int(),
    basket_id: z.int(),
    product_id: z.int(),
    quantity: z.int(),
    sales_value: z.number().min(0),
    retail_disc: decimal(12, 2),
    coupon_disc: decimal(12, 2),
    coupon_match_disc: decimal(12, 2),
    week: z.int32(),
    transaction_timestamp: z.iso.datetime(),
  }),
  id: ["basket_id", "product_id"],
  key: "household_id",
  time: "transaction_timestamp",
});

export const products = stream("products", {
  schema: z.object({
    product_id: z.int(),
    manufacturer_id: z.int(),
    department: z.string().min(1),
    brand: z.string().min(1),
    product_category: z.string().nullish(),
    product_type: z.string().nullish(),
    package_size: z.string().nullish(),
  }),
  key: "product_id",
});

/** Known for about a third of the households. */
export const demographics = stream("demographics", {
  schema: z.object({
    household_id: z.int(),
    age: z.string(),
    income: z.string(),
    home_ownership: z.string().nullish(),
    marital_status: z.string().nullish(),
    household_size: z.string(),
    household_comp: z.string(),
    kids_count: z.string(),
  }),
  key: "household_id",
});

export const campaignDescriptions = stream("campaign_descriptions", {
  schema: z.object({
    campaign_id: z.int(),
    campaign_type: z.enum(["Type A", "Type B", "Type C"]),
    start_date: z.iso.date(),
    end_date: z.iso.date(),
  }),
  key: "campaign_id",
});

/** Which household received which campaign. */
export const campaigns = stream("campaigns", {
  schema: z.object({ campaign_id: z.int(), household_id: z.int() }),
  id: ["campaign_id", "household_id"],
  key: "household_id",
});

/** Which product a coupon of a campaign is good for. The file repeats some rows; all columns together are the id. */
export const coupons = stream("coupons", {
  schema: z.object({ coupon_upc: z.int(), product_id: z.int(), campaign_id: z.int() }),
  id: ["coupon_upc", "product_id", "campaign_id"],
  key: "coupon_upc",
});

export const couponRedemptions = stream("coupon_redemptions", {
  schema: z.object({
    household_id: z.int(),
    coupon_upc: z.int(),
    campaign_id: z.int(),
    redemption_date: z.iso.date(),
  }),
  id: ["household_id", "coupon_upc", "campaign_id", "redemption_date"],
  key: "household_id",
});

/** Where a product stood in a store's week: `0` is nowhere special, other codes name shelves and mailer pages. */
export const promotions = stream("promotions", {
  schema: z.object({
    product_id: z.int(),
    store_id: z.int(),
    display_location: z.string().length(1),
    mailer_location: z.string().length(1),
    week: z.int32(),
  }),
  id: ["product_id", "store_id", "week"],
  key: "product_id",
});
