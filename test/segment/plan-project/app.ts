import { segment, trackingPlan } from "millrace";

const event = (name: string, properties: object, required: string[] = []) => ({
  name,
  rules: {
    $schema: "http://json-schema.org/draft-07/schema#",
    type: "object",
    properties: {
      properties: { type: "object", id: "/properties/properties", properties, required },
      context: {},
      traits: { type: "object" },
    },
  },
});

const plan = {
  rules: {
    events: [
      event(
        "Order Completed",
        {
          order_id: { type: "string" },
          Total: { type: "number", minimum: 0 },
          items: { type: ["integer", "null"] },
          paid: { type: "boolean" },
          paidAt: { type: "string", format: "date-time" },
          lines: { type: "array", items: { type: "object" } },
          id: { type: "string" },
          "coupon/code": { type: "string" },
        },
        ["order_id"],
      ),
    ],
  },
};

export const app = segment("app", { plan: trackingPlan(plan, { unplanned: "flag" }) });
export const lenient = segment("lenient", { plan: trackingPlan(plan, { violations: "flag" }) });
export const strict = segment("strict", { plan: trackingPlan(plan, { unplanned: "reject" }) });
